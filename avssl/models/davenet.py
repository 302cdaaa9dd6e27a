"""ResDAVEnet's audio network."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.blocks import ConvNormRelu
from avssl.models.convolution import HE_FAN_OUT, Conv
from avssl.models.features import Features
from avssl.models.norm import BatchNorm


class SpeechBlock(nn.Module):
    """Two convolutions over time around a shortcut, which has a 1x1 one where the shape changes."""

    features: int
    stride: int = 1
    kernel: int = 9
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t 1 c"], *, train: bool) -> Float[Array, "b t2 1 d"]:
        conv = partial(Conv, self.features, kernel_init=HE_FAN_OUT, dtype=self.dtype)
        norm = partial(BatchNorm, dtype=self.dtype)
        kernel, strides = (self.kernel, 1), (self.stride, 1)
        y = ConvNormRelu(
            self.features, kernel, strides, HE_FAN_OUT, dtype=self.dtype, name="layer1"
        )(x, train=train)
        y = norm(name="norm2")(conv(kernel, name="conv2")(y), train=train)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = conv((1, 1), strides, name="shortcut")(x)
            x = norm(name="shortcut_norm")(x, train=train)
        return nn.relu(x + y)


class ResDavenet(nn.Module):
    """The audio branch of ResDAVEnet (Harwath et al. 2019), as AVLnet and MCN have it, mean-pooled.

    The first layer takes all frequencies of a frame at once (40 mel bands there), the rest are 1-D
    convolutions of width 9 in residual blocks; each stage halves time, 16 times fewer frames in
    all. Taps: `conv1`, `layer1` to `layer4`; maps keep a frequency axis of size 1. The defaults are
    the paper's.

    Departure: the embedding is the mean over all frames in evaluation too. There the released code
    leaves out the frames that fill up a short clip.
    """

    widths: tuple[int, ...] = (128, 128, 256, 512, 1024)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    kernel: int = 9
    dtype: DTypeLike = jnp.float32

    modality = "audio"
    any_length = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        stem, *stages = self.widths
        all_bands = (1, x.shape[2])
        x = Conv(
            stem, all_bands, padding=(0, 0), kernel_init=HE_FAN_OUT, dtype=self.dtype, name="conv1"
        )(x)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="norm1")(x, train=train))
        taps = {"conv1": x}
        for stage, (width, num_blocks) in enumerate(zip(stages, self.blocks, strict=True), start=1):
            for block in range(num_blocks):
                stride = 2 if block == 0 else 1
                name = f"layer{stage}_{block}"
                layer = SpeechBlock(width, stride, self.kernel, dtype=self.dtype, name=name)
                x = layer(x, train=train)
            taps[f"layer{stage}"] = x
        return Features(embedding=jnp.mean(x, axis=(1, 2)), map=x, taps=taps)
