"""What nearly every loss does with the rows that are not present."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.precision import widen


def blank_absent(
    rows: Float[Array, "n *rest"], present: Bool[Array, "n"]
) -> Float[Array, "n *rest"]:
    """The rows in float32 or wider, those that are not present as zeros."""
    return jnp.where(present.reshape(-1, *(1,) * (rows.ndim - 1)), widen(rows), 0.0)


def mean_present(values: Float[Array, "n"], present: Bool[Array, "n"]) -> Float[Array, ""]:
    """The mean over the present rows; 0 without any. Absent ones may hold anything."""
    count = jnp.sum(present.astype(values.dtype))
    return jnp.sum(jnp.where(present, values, 0.0)) / jnp.maximum(count, 1.0)
