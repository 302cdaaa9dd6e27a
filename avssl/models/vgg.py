"""The two VGG-like encoders of L3-Net."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.blocks import ConvNormRelu
from avssl.models.features import Features
from avssl.models.pooling import max_pool2d


class _VggTrunk(nn.Module):
    """Blocks of two 3x3 convolutions, a 2x2 max pooling after each but the last."""

    widths: tuple[int, ...]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> dict[str, Array]:
        taps = {}
        for block, width in enumerate(self.widths, start=1):
            for layer in (1, 2):
                conv = ConvNormRelu(width, dtype=self.dtype, name=f"conv{block}_{layer}")
                x = conv(x, train=train)
            if block < len(self.widths):
                x = max_pool2d(x, window=2, stride=2, padding=0)
            taps[f"conv{block}"] = x
        return taps


class L3Video(nn.Module):
    """L3-Net's vision network (Arandjelovic and Zisserman, ICCV 2017), on each frame by itself.

    Taps `conv1` to `conv4` are the blocks' outputs, pooled but for the last. A frame's embedding is
    the maximum over positions (the paper's final 28x28 pooling at 224 pixels). L3-Net sees one
    frame; of several the embedding is the mean. BatchNorm is PyTorch's kind, with epsilon 1e-5.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    dtype: DTypeLike = jnp.float32

    modality = "video"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        batch_and_time = x.shape[:2]
        trunk = _VggTrunk(self.widths, self.dtype, name="trunk")
        taps = {
            name: frames.reshape(*batch_and_time, *frames.shape[1:])
            for name, frames in trunk(x.reshape(-1, *x.shape[2:]), train=train).items()
        }
        last = taps[f"conv{len(self.widths)}"]
        return Features(embedding=jnp.max(last, axis=(2, 3)).mean(axis=1), map=last, taps=taps)


class L3Audio(nn.Module):
    """L3-Net's audio network: the vision network's layers on a spectrogram with one channel.

    Taps as in `L3Video`; the embedding is the maximum over time and frequency.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    dtype: DTypeLike = jnp.float32

    modality = "audio"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        taps = _VggTrunk(self.widths, self.dtype, name="trunk")(x, train=train)
        last = taps[f"conv{len(self.widths)}"]
        return Features(embedding=jnp.max(last, axis=(1, 2)), map=last, taps=taps)
