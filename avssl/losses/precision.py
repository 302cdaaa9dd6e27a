"""The dtype that losses compute in."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def widen(array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The array in float32; float64 stays."""
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)
