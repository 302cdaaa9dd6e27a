"""What SeLaVi has around its Sinkhorn solves: heads, their groups, their alignment, the schedule.

Asano, Patrick, Rupprecht & Vedaldi 2020 (arXiv 2006.13662).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.rows import blank_absent


def multi_head_loss(
    video_logits: Float[Array, "h b k"],
    audio_logits: Float[Array, "h b k"],
    labels: Int[Array, "b h"],
    *,
    video_present: Bool[Array, "b"],
    audio_present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """0.5 mean_h CE(video_h, label_h) + 0.5 mean_h CE(audio_h, label_h) (`utils.py:get_loss`).

    Rows without a label yet (-1) leave, as absent ones do. The accuracies are means over the heads.
    """
    of_heads = jax.vmap(
        lambda logits, labels, present: pseudo_label_loss(logits, labels, present=present),
        in_axes=(0, 1, None),
    )
    video_loss, video = of_heads(video_logits, labels, video_present)
    audio_loss, audio = of_heads(audio_logits, labels, audio_present)
    metrics = {
        "video_accuracy": jnp.mean(video["accuracy"]),
        "audio_accuracy": jnp.mean(audio["accuracy"]),
    }
    return 0.5 * jnp.mean(video_loss) + 0.5 * jnp.mean(audio_loss), metrics


def head_groups(key: Array, num_heads: int, num_groups: int) -> Int[Array, "h"]:
    """The group of each head: a random split, as even as it goes.

    Heads of one group are clustered on one pass of features, each group on a pass with its own
    augmentation, which decorrelates them (`ind_groups`, 2 in the paper). Released code needs
    `num_groups` to divide `num_heads`, and shuffles at every solve: fold the solve into the key.
    """
    if not 1 <= num_groups <= num_heads:
        raise ValueError(f"cannot split {num_heads} heads into {num_groups} groups")
    return jax.random.permutation(key, num_heads) % num_groups


def solve_times(num_steps: int, *, num_solves: int = 100, power: float = 1.5) -> tuple[float, ...]:
    """When labels are solved for: num_steps * linspace(0, 1, num_solves) ** power (`main.py`).

    Dense at first, sparse later, in units of training steps. The first is 0, the last the end.
    """
    spacing = max(num_solves - 1, 1)
    return tuple(num_steps * (number / spacing) ** power for number in range(num_solves))


def solve_steps(num_steps: int, *, num_solves: int = 100, power: float = 1.5) -> tuple[int, ...]:
    """The steps before which labels are solved for: the first at or after each of `solve_times`.

    Departure: where the schedule asks for several solves within one step, one is made; the released
    loop makes up for the others at the steps that follow, one each.
    """
    times = solve_times(num_steps, num_solves=num_solves, power=power)
    # A time that rounding has put just past a step belongs to that step.
    steps = {-int(-(time - 1e-9 * num_steps) // 1) for time in times}
    return tuple(sorted(step for step in steps if step < num_steps))


def alignment_cost(
    video_posterior: Float[Array, "n k"],
    audio_posterior: Float[Array, "n k"],
    *,
    present: Bool[Array, "n"],
) -> Float[Array, "k k"]:
    """cost[i, j] = sum_n |video[n, i] - audio[n, j]|, what modality alignment minimises.

    The released code (`sk_utils.py:match_order`) looks for the permutation of audio clusters with
    the least sum_i cost[i, permutation[i]] by random swaps; any solver of assignments may do it.
    """
    video, audio = (
        blank_absent(posterior, present) for posterior in (video_posterior, audio_posterior)
    )
    return lax.map(lambda column: jnp.sum(jnp.abs(column[:, None] - audio), axis=0), video.T)
