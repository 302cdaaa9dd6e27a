"""AVID's R(2+1)D-18."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.blocks import ConvNormRelu
from avssl.models.convolution import TORCH_UNIFORM, Conv
from avssl.models.features import Features
from avssl.models.max_pool import max_pool2d
from avssl.models.norm import BatchNorm


class R2Plus1DBlock(nn.Module):
    """Spatial, temporal, spatial, temporal convolution around a shortcut.

    All four have as many channels as the block (no matched "midplanes"); the last norm acts on the
    sum, and the shortcut's own 1x1x1 convolution has none.
    """

    features: int
    strides: tuple[int, int, int] = (1, 1, 1)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w c"], *, train: bool
    ) -> Float[Array, "b t2 h2 w2 d"]:
        conv = partial(Conv, self.features, kernel_init=TORCH_UNIFORM, dtype=self.dtype)
        layer = partial(ConvNormRelu, self.features, kernel_init=TORCH_UNIFORM, dtype=self.dtype)
        time_stride, *space_strides = self.strides
        y = layer((1, 3, 3), (1, *space_strides), name="spatial1")(x, train=train)
        y = layer((3, 1, 1), (time_stride, 1, 1), name="temporal1")(y, train=train)
        y = layer((1, 3, 3), name="spatial2")(y, train=train)
        y = conv((3, 1, 1), name="temporal2")(y)
        if x.shape[-1] != self.features or self.strides != (1, 1, 1):
            x = conv((1, 1, 1), self.strides, name="shortcut")(x)
        return nn.relu(BatchNorm(dtype=self.dtype, name="out_norm")(x + y, train=train))


class R2Plus1D18(nn.Module):
    """R(2+1)D-18 of AVID-CMA (Morgado et al., CVPR 2021, `models/video.py`), max-pooled to 512.

    Taps: `conv1` (the stem after its pooling), `conv2x` to `conv5x`. The defaults are the paper's;
    `blocks` and `widths` (one per stage) make a smaller one. AVSA (Morgado et al., NeurIPS 2020) has
    the same without the stem's pooling.
    """

    blocks: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem_max_pool: bool = True
    dtype: DTypeLike = jnp.float32

    modality = "video"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        stem = partial(ConvNormRelu, kernel_init=TORCH_UNIFORM, dtype=self.dtype, name="stem")
        x = stem(self.widths[0], (3, 7, 7), (1, 2, 2))(x, train=train)
        if self.stem_max_pool:
            frames = max_pool2d(x.reshape(-1, *x.shape[2:]), window=3, stride=2, padding=1)
            x = frames.reshape(*x.shape[:2], *frames.shape[1:])
        taps = {"conv1": x}
        for stage, (num_blocks, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            stage_name = f"conv{stage + 2}x"
            for block in range(num_blocks):
                strides = (2, 2, 2) if stage > 0 and block == 0 else (1, 1, 1)
                name = f"{stage_name}_{block}"
                x = R2Plus1DBlock(width, strides, dtype=self.dtype, name=name)(x, train=train)
            taps[stage_name] = x
        return Features(embedding=jnp.max(x, axis=(1, 2, 3)), map=x, taps=taps)
