"""Convolution, BatchNorm, ReLU: what every convnet here is made of."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.convolution import HE_NORMAL, Conv
from avssl.models.norm import BatchNorm


class ConvNormRelu(nn.Module):
    features: int
    kernel_size: tuple[int, ...] = (3, 3)
    strides: tuple[int, ...] | None = None
    kernel_init: Callable = HE_NORMAL
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *positions c"], *, train: bool
    ) -> Float[Array, "b *out d"]:
        x = Conv(
            self.features,
            self.kernel_size,
            self.strides,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="conv",
        )(x)
        return nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))
