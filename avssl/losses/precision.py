"""The precision that losses compute in."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def widen(array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The array in float32; float64 stays."""
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)


def dot(first: Float[Array, "m n"], second: Float[Array, "n o"]) -> Float[Array, "m o"]:
    """The product of two matrices, not rounded on the way as TPUs and GPUs (TF32) would have it."""
    return jnp.matmul(first, second, precision=jax.lax.Precision.HIGHEST)
