"""Which dtype parameters are kept in, for a compute dtype."""

import jax.numpy as jnp
from jax.typing import DTypeLike


def parameter_dtype(dtype: DTypeLike) -> jnp.dtype:
    """float32, whatever the compute dtype; only proofs in float64 keep float64 parameters."""
    return jnp.promote_types(dtype, jnp.float32)
