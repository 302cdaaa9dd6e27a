"""What nearly every loss does with the rows that are not present."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.precision import widen


def blank_absent(
    rows: Float[Array, "n *rest"], present: Bool[Array, "n"]
) -> Float[Array, "n *rest"]:
    """The rows in float32 or wider, those that are not present as zeros."""
    return jnp.where(present.reshape(-1, *(1,) * (rows.ndim - 1)), widen(rows), 0.0)


def mean_present(values: Float[Array, "*n"], present: Bool[Array, "*n"]) -> Float[Array, ""]:
    """The mean over the present rows, or pairs; 0 without any. Absent ones may hold anything."""
    count = jnp.sum(present.astype(values.dtype))
    return jnp.sum(jnp.where(present, values, 0.0)) / jnp.maximum(count, 1.0)


def weighted_mean(
    values: Float[Array, "n"], weights: Float[Array, "n"] | None, present: Bool[Array, "n"]
) -> Float[Array, ""]:
    """As `mean_present`, each row by its weight, a constant of 0 or more; 0 if all weights are 0."""
    if weights is None:
        return mean_present(values, present)
    weights = jax.lax.stop_gradient(jnp.where(present, weights.astype(values.dtype), 0.0))
    total = jnp.sum(weights)
    return jnp.sum(jnp.where(present, values, 0.0) * weights) / jnp.where(total > 0.0, total, 1.0)
