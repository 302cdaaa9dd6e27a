"""Ranking: a pair is nearer than its halves are to those of other records."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar, cosines, negative_mask
from avssl.losses.rows import blank_absent, mean_present


def ranking_loss(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    *,
    margin: float | Scalar = 0.2,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """mean_i sum_{j != i} max(0, margin - cos(s_i, t_i) + cos(s_i, t_j)).

    Aytar, Vondrick & Torralba 2017 ("See, Hear, and Read", arXiv 1706.00932), as StereoSoundNet (Gan et al.
    2019, arXiv 1910.11760) aligns a hearing student with a seeing teacher; margin 0.2 in the configuration of
    MM-DistillNet, which does not ship the loss: the form is as recalled, not verified. No gradient is stopped
    here; targets of teachers have none.

    Rows with `present` False leave as row and as rival, whatever they hold; rows of one record (equal `index`)
    are never rivals: what is near in time sounds and looks alike. Without any row the loss is 0.
    Metrics: how often a row's own target is strictly the nearest; the number of rows.
    """
    student, teacher = blank_absent(student, present), blank_absent(teacher, present)
    near = cosines(student, teacher)
    own = jnp.diagonal(near)
    rivals = negative_mask(index, present)
    excess = jnp.maximum(jnp.asarray(margin).astype(near.dtype) - own[:, None] + near, 0.0)
    losses = jnp.sum(jnp.where(rivals, excess, 0.0), axis=1)
    first = own > jnp.max(jnp.where(rivals, near, -jnp.inf), axis=1)
    return mean_present(losses, present), {
        "ranking_top1": mean_present(first.astype(near.dtype), present),
        "num_pairs": jnp.sum(present.astype(near.dtype)),
    }
