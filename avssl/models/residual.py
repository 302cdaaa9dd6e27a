"""The residual block of torchvision's ResNets, for pictures, spectrograms and clips."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.convolution import HE_FAN_OUT, Conv


def matched_midplanes(in_features: int, features: int) -> int:
    """Channels that give a factored 3x3x3 convolution as many weights as the full one has."""
    return (in_features * features * 27) // (9 * in_features + 3 * features)


class FactoredConv(nn.Module):
    """R(2+1)D's stand-in for a 3-D convolution: over space, norm and ReLU, then over time."""

    features: int
    midplanes: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    norm: Callable
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w c"], *, train: bool
    ) -> Float[Array, "b t2 h2 w2 d"]:
        conv = partial(Conv, kernel_init=HE_FAN_OUT, dtype=self.dtype)
        time, *space = self.kernel_size
        time_stride, *space_strides = self.strides
        x = conv(self.midplanes, (1, *space), (1, *space_strides), name="spatial")(x)
        x = nn.relu(self.norm(name="spatial_norm")(x, train=train))
        return conv(self.features, (time, 1, 1), (time_stride, 1, 1), name="temporal")(x)


class BasicBlock(nn.Module):
    """Two convolutions around a shortcut, which has one of size 1 where the shape changes.

    Every convolution has a norm, the shortcut's too. Where they are `factored`, both have the
    midplanes that match the first, as in torchvision, though more would match the second.
    """

    features: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    norm: Callable
    factored: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *positions c"], *, train: bool
    ) -> Float[Array, "b *out d"]:
        conv = partial(Conv, self.features, kernel_init=HE_FAN_OUT, dtype=self.dtype)
        midplanes = matched_midplanes(x.shape[-1], self.features)
        unit = (1,) * len(self.strides)

        def layer(x: Array, strides: tuple[int, ...], number: int) -> Array:
            name = f"conv{number}"
            if self.factored:
                settings = (self.features, midplanes, self.kernel_size, strides, self.norm)
                x = FactoredConv(*settings, dtype=self.dtype, name=name)(x, train=train)
            else:
                x = conv(self.kernel_size, strides, name=name)(x)
            return self.norm(name=f"norm{number}")(x, train=train)

        y = layer(nn.relu(layer(x, self.strides, 1)), unit, 2)
        if x.shape[-1] != self.features or self.strides != unit:
            x = conv(unit, self.strides, name="shortcut")(x)
            x = self.norm(name="shortcut_norm")(x, train=train)
        return nn.relu(x + y)
