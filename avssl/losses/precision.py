"""The precision that losses compute in."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def widen(array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The array in float32; float64 stays."""
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)


def dot(first: Float[Array, "*b m n"], second: Float[Array, "*b n o"]) -> Float[Array, "*b m o"]:
    """The product of two matrices, or of several, not rounded on the way as TPUs and GPUs (TF32) have it."""
    return jnp.matmul(first, second, precision=jax.lax.Precision.HIGHEST)
