"""Rows that a batch has, and rows that only fill a place: those may hold anything, NaN too."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar
from avssl.losses.precision import widen


def blank_absent(
    rows: Float[Array, "n *rest"], present: Bool[Array, "n"]
) -> Float[Array, "n *rest"]:
    """The rows in float32 or wider, those that are not present as zeros."""
    return jnp.where(present.reshape(-1, *(1,) * (rows.ndim - 1)), widen(rows), 0.0)


def mean_present(values: Float[Array, "n"], present: Bool[Array, "n"]) -> Scalar:
    """The mean over the rows that are present; 0 if there is none. The others must be finite."""
    weight = present.astype(values.dtype)
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)
