"""A feature pyramid: maps of one width at several scales, each told what the others see."""

from functools import reduce

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.blocks import ConvNormRelu
from avssl.models.max_pool import max_pool2d
from avssl.models.precision import parameter_dtype

# Added to the sum of the weights of a fusion, as in EfficientDet.
EPSILON = 1e-4


class _Fusion(nn.Module):
    """A weighted mean of maps of one shape, then a 3x3 convolution.

    Weights are learnt, start equal and count as 0 where they fall below it: EfficientDet's "fast
    normalized fusion" (Tan, Pang & Le 2020, section 3.3).
    """

    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: list[Float[Array, "b h w c"]], *, train: bool
    ) -> Float[Array, "b h w c"]:
        held = parameter_dtype(self.dtype)
        weights = nn.relu(self.param("weights", nn.initializers.ones, (len(maps),), held))
        weights = (weights / (jnp.sum(weights) + EPSILON)).astype(self.dtype)
        mean = reduce(jnp.add, [weights[number] * x for number, x in enumerate(maps)])
        return ConvNormRelu(mean.shape[-1], dtype=self.dtype, name="conv")(mean, train=train)


class BidirectionalPyramid(nn.Module):
    """One pass down the scales and one up again: EfficientDet's BiFPN layer (arXiv 1911.09070).

    Each map must be half as high and wide as the one before it. Departure: whole 3x3 convolutions and
    ReLU where EfficientDet has depthwise separable ones and swish; those are slow on CPU.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, maps: list[Float[Array, "b _ _ c"]], *, train: bool
    ) -> list[Float[Array, "b _ _ c"]]:
        last = len(maps) - 1
        down = list(maps)
        for level in range(last - 1, -1, -1):
            fuse = _Fusion(self.dtype, name=f"down{level}")
            down[level] = fuse([maps[level], _doubled(down[level + 1])], train=train)
        up = down[:1]
        for level in range(1, last + 1):
            # What came down to the last level is its own map.
            inputs = [maps[level], down[level]] if level < last else [maps[level]]
            halved = max_pool2d(up[-1], window=3, stride=2, padding=1)
            up.append(_Fusion(self.dtype, name=f"up{level}")([*inputs, halved], train=train))
        return up


def _doubled(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
