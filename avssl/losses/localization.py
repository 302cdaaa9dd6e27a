"""Where in a picture a sound comes from, learnt from pairs alone, by the best position of each picture.

A map is a list of vectors here, [batch, positions, channels], of any length: products are cosines.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar, contrast_in_blocks, unit_rows
from avssl.losses.rows import blank_absent


def multiple_instance_loss(
    video: Float[Array, "b n d"],
    audio: Float[Array, "b d"],
    *,
    temperature: float | Scalar = 0.03,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """EZ-VSL's loss (Mo & Morgado 2022, arXiv 2203.09324; code: stoneMo/EZ-VSL, `max_xmil_loss`).

    With s_ij = max over positions n of cos(video_in, audio_j) / temperature,
    loss = mean_i of (CE(s_i., i) + CE(s_.i, i)): the sum of both directions, not half of it as in
    `symmetric_info_nce`. temperature 0.03. blocks: see `contrast_in_blocks`; it divides the cosines
    of all positions, too.

    Departures, which change nothing in a batch of distinct, complete clips on one device (the
    released code contrasts within each device): see `contrast_pairs`. Positions that are equally
    near share the gradient; torch gives it to one of them.
    """
    video, audio = (blank_absent(x, present) for x in (video, audio))

    def logits(video: Array, audio: Array) -> Array:
        nearest = jnp.max(position_cosines(video, audio), axis=2)
        return nearest / jnp.asarray(temperature).astype(nearest.dtype)

    half, metrics = contrast_in_blocks(
        video, audio, logits, index=index, present=present, blocks=blocks
    )
    return 2.0 * half, metrics


def sounding_map(video: Float[Array, "b n d"], audio: Float[Array, "b d"]) -> Float[Array, "b n"]:
    """Cosine of each position with the picture's own sound: what localises it.

    Released EZ-VSL divides it by the temperature, which no evaluation sees.
    """
    video, audio = unit_rows(video), unit_rows(audio)
    return jnp.einsum("bnd,bd->bn", video, audio, precision=jax.lax.Precision.HIGHEST)


def position_cosines(
    video: Float[Array, "b n d"], audio: Float[Array, "m d"]
) -> Float[Array, "b m n"]:
    """Cosine of every position of each picture with every sound, in float32 or wider.

    All of them are held at once: 26 MB for 128 rows and 20 x 20 positions.
    """
    video, audio = unit_rows(video), unit_rows(audio)
    return jnp.einsum("bnd,md->bmn", video, audio, precision=jax.lax.Precision.HIGHEST)
