"""The residual blocks of torchvision's ResNets, for pictures, spectrograms and clips."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.convolution import HE_FAN_OUT, Conv

# Of a bottleneck: channels that come out over channels within.
EXPANSION = 4


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


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution around a shortcut; `EXPANSION` times `features` come out.

    The stride is the 3x3 convolution's, as in torchvision ("V1.5"); He et al. have it in the first.
    """

    features: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    norm: Callable
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *positions c"], *, train: bool
    ) -> Float[Array, "b *out d"]:
        conv = partial(Conv, kernel_init=HE_FAN_OUT, dtype=self.dtype)
        unit, out_features = (1,) * len(self.strides), EXPANSION * self.features
        y = conv(self.features, unit, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y, train=train))
        y = conv(self.features, self.kernel_size, self.strides, name="conv2")(y)
        y = nn.relu(self.norm(name="norm2")(y, train=train))
        y = self.norm(name="norm3")(conv(out_features, unit, name="conv3")(y), train=train)
        if x.shape[-1] != out_features or self.strides != unit:
            x = conv(out_features, unit, self.strides, name="shortcut")(x)
            x = self.norm(name="shortcut_norm")(x, train=train)
        return nn.relu(x + y)


def residual_stages(
    x: Float[Array, "b h w c"],
    block: Callable,
    *,
    widths: tuple[int, ...],
    blocks: tuple[int, ...],
    strides: tuple[int, ...],
    train: bool,
) -> dict[str, Array]:
    """`layer1`, `layer2` ... of a network on pictures, made in the module that calls.

    The first block of a stage has its stride. `block` is one of the above without width and stride.
    """
    taps = {}
    stages = zip(blocks, widths, strides, strict=True)
    for stage, (num_blocks, width, stage_stride) in enumerate(stages, start=1):
        for number in range(num_blocks):
            stride = stage_stride if number == 0 else 1
            layer = block(features=width, strides=(stride, stride), name=f"layer{stage}_{number}")
            x = layer(x, train=train)
        taps[f"layer{stage}"] = x
    return taps
