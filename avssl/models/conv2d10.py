"""AVID's Conv2D-10 for spectrograms."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.blocks import ConvNormRelu
from avssl.models.convolution import TORCH_UNIFORM
from avssl.models.features import Features


class Conv2DBlock(nn.Module):
    """Two 3x3 convolutions, the first strided; no shortcut."""

    features: int
    strides: tuple[int, int] = (1, 1)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t f c"], *, train: bool) -> Float[Array, "b t2 f2 d"]:
        layer = partial(ConvNormRelu, self.features, kernel_init=TORCH_UNIFORM, dtype=self.dtype)
        x = layer(strides=self.strides, name="layer1")(x, train=train)
        return layer(name="layer2")(x, train=train)


class Conv2D10(nn.Module):
    """Conv2D-10 of AVID-CMA (Morgado et al., CVPR 2021, `models/audio.py`), max-pooled to 512.

    Taps: `conv1` (the stem), `conv2x` to `conv5x` (the four blocks). The defaults are the paper's;
    AVSA (Morgado et al., NeurIPS 2020) has the block strides 1, 2, 2, 1.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (2, 2, 2, 1)
    dtype: DTypeLike = jnp.float32

    modality = "audio"
    any_length = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        stem = partial(ConvNormRelu, kernel_init=TORCH_UNIFORM, dtype=self.dtype, name="stem")
        x = stem(self.widths[0], (7, 7), (2, 2))(x, train=train)
        taps = {"conv1": x}
        for stage, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            name = f"conv{stage + 2}x"
            block = Conv2DBlock(width, (stride, stride), dtype=self.dtype, name=name)
            x = block(x, train=train)
            taps[name] = x
        return Features(embedding=jnp.max(x, axis=(1, 2)), map=x, taps=taps)
