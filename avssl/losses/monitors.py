"""Collapse monitors: numbers that show early that embeddings stop carrying anything.

All are taken over unit-length rows, over the rows that are present, and are finite whatever comes
in: a monitor must not be what stops a run.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar, cosines, negative_mask, unit_rows

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
    embedding = jnp.where(present[:, None], embedding, jnp.zeros_like(embedding))
    rows = unit_rows(embedding)
    count = jnp.maximum(jnp.sum(present.astype(rows.dtype)), 1.0)
    mean = jnp.sum(rows, axis=0, keepdims=True) / count
    centered = jnp.where(present[:, None], rows - mean, 0.0)
    variance = jnp.sum(centered**2, axis=0) / count
    # tr(C^2) is the same of the d x d and of the b x b product: take the smaller.
    if centered.shape[0] < centered.shape[1]:
        centered = centered.T
    gram = jnp.matmul(centered.T, centered, precision=jax.lax.Precision.HIGHEST) / count
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
    video, audio = (jnp.where(present[:, None], x, jnp.zeros_like(x)) for x in (video, audio))
    similarity = cosines(video, audio)
    own = present.astype(similarity.dtype)
    others = negative_mask(index, present).astype(similarity.dtype)
    return {
        "positive_cosine": jnp.sum(jnp.diagonal(similarity) * own) / jnp.maximum(jnp.sum(own), 1.0),
        "negative_cosine": jnp.sum(similarity * others) / jnp.maximum(jnp.sum(others), 1.0),
    }
