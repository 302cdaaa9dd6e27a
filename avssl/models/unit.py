"""Vectors of length 1, inside networks."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from avssl.models.precision import parameter_dtype


def unit_vectors(x: Float[Array, "*rest d"], axis: int = -1) -> Float[Array, "*rest d"]:
    """In float32 or wider. A vector of zeros stays zero, with gradient zero."""
    wide = x.astype(parameter_dtype(x.dtype))
    square = jnp.sum(wide**2, axis=axis, keepdims=True)
    # The root of exactly 0 has no gradient, hence the `where` inside it as well.
    return jnp.where(square > 0.0, wide / jnp.sqrt(jnp.where(square > 0.0, square, 1.0)), 0.0)
