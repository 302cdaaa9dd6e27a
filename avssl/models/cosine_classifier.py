"""A classifier by direction alone, for losses with an angular margin."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.precision import parameter_dtype
from avssl.models.unit import unit_vectors


class CosineClassifier(nn.Module):
    """The cosine of each row with the direction of each class: no bias, no scale, no margin.

    `kernel` [size, classes] has a direction in each column, as a teacher's does that a student of
    the same size may start from. In float32 or wider whatever `dtype` the encoders have: what
    follows is a softmax over thousands of speakers.
    """

    num_classes: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b k"]:
        held = parameter_dtype(self.dtype)
        shape = (x.shape[-1], self.num_classes)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, held)
        rows, columns = unit_vectors(x.astype(held)), unit_vectors(kernel, axis=0)
        return jnp.matmul(rows, columns, precision=jax.lax.Precision.HIGHEST)
