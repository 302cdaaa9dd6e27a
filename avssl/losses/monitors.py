"""Collapse monitors: numbers that show early that embeddings stop carrying anything.

All are taken over unit-length rows, over the rows that are present, and are finite whatever comes
in: a monitor must not be what stops a run.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar, unit_rows
from avssl.losses.precision import dot
from avssl.losses.rows import blank_absent, mean_present

# Below this total variance the embeddings are one point, to float32 rounding (about 4e-15).
NO_SPREAD = 1e-12


def spread_monitors(
    embedding: Float[Array, "b d"], *, present: Bool[Array, "b"]
) -> dict[str, Scalar]:
    """How far and in how many directions the embeddings of a batch spread.

    `std`: standard deviation of each coordinate, mean over coordinates. 0 when collapsed; 1/sqrt(d)
    at most, when spread evenly. `participation_ratio`: tr(C)^2 / tr(C^2) of their covariance C, the
    number of directions in use, from 1 to min(d, rows - 1); 0 when all embeddings are one point.
    """
    rows = unit_rows(blank_absent(embedding, present))
    count = jnp.maximum(jnp.sum(present.astype(rows.dtype)), 1.0)
    mean = jnp.sum(rows, axis=0, keepdims=True) / count
    centered = blank_absent(rows - mean, present)
    variance = jnp.sum(centered**2, axis=0) / count
    # tr(C^2) is the same of the d x d and of the b x b product: take the smaller.
    if centered.shape[0] < centered.shape[1]:
        centered = centered.T
    gram = dot(centered.T, centered) / count
    total, square = jnp.sum(variance), jnp.sum(gram**2)
    spread = total > NO_SPREAD
    return {
        "std": jnp.mean(jnp.sqrt(variance)),
        "participation_ratio": jnp.where(spread, total**2 / jnp.where(spread, square, 1.0), 0.0),
    }


def cosine_monitors(
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    *,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
) -> dict[str, Scalar]:
    """Mean cosine of the two modalities of a record, and of two different records.

    Both near 1: collapsed. Equal, near 0: nothing learnt yet.
    """
    video, audio = (unit_rows(blank_absent(rows, present)) for rows in (video, audio))
    # Sums of vectors in place of all b x b products: of everything, less what shares a record.
    order = jnp.argsort(index)
    begins = jnp.diff(index[order], prepend=index[order][:1]) != 0
    record = jnp.cumsum(begins.astype(jnp.int32))

    def of_records(rows: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
        return jax.ops.segment_sum(rows[order], record, len(index), indices_are_sorted=True)

    count = present.astype(video.dtype)
    of_others = jnp.sum(jnp.sum(video, axis=0) * jnp.sum(audio, axis=0))
    of_others -= jnp.sum(of_records(video) * of_records(audio))
    num_others = jnp.sum(count) ** 2 - jnp.sum(of_records(count) ** 2)
    return {
        "positive_cosine": mean_present(jnp.sum(video * audio, axis=1), present),
        "negative_cosine": jnp.where(
            num_others > 0.0, of_others / jnp.maximum(num_others, 1.0), 0.0
        ),
    }
