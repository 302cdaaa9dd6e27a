"""A pair of convnets that learn in minutes on two CPU cores.

Their time goes into large strides early, few positions and few channels there: on CPU the weight
gradients of large maps are what costs.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.blocks import ConvNormRelu
from avssl.models.draws import RowDropout
from avssl.models.features import Features


class SmallVideo(nn.Module):
    """A convnet on each frame: a 7x7 stem of stride 4, then 3x3 layers.

    The embedding is the maximum over space, then the mean over time, or with `keep_time` the frames'
    one after another: what tells when something happens. `temporal_width` adds a layer over three
    frames at a time, which sees motion. Taps: `stem`, `layer1` ....
    """

    stem_width: int = 64
    widths: tuple[int, ...] = (64, 128, 128)
    strides: tuple[int, ...] = (2, 1, 2)
    temporal_width: int = 0
    keep_time: bool = False
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    modality = "video"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        batch_and_time = x.shape[:2]
        x = x.reshape(-1, *x.shape[2:])
        taps = {}
        stem = ConvNormRelu(self.stem_width, (7, 7), (4, 4), dtype=self.dtype, name="stem")
        x = taps["stem"] = stem(x, train=train)
        for layer, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True), 1):
            name = f"layer{layer}"
            conv = ConvNormRelu(width, (3, 3), (stride, stride), dtype=self.dtype, name=name)
            x = taps[name] = conv(x, train=train)
        taps = {name: tap.reshape(*batch_and_time, *tap.shape[1:]) for name, tap in taps.items()}
        x = x.reshape(*batch_and_time, *x.shape[1:])
        if self.temporal_width:
            motion = ConvNormRelu(self.temporal_width, (3, 1, 1), dtype=self.dtype, name="temporal")
            x = taps["temporal"] = motion(x, train=train)
        embedding = jnp.max(x, axis=(2, 3))
        embedding = flat(embedding) if self.keep_time else embedding.mean(axis=1)
        embedding = RowDropout(self.dropout)(embedding, train=train, rows=rows)
        return Features(embedding=embedding, map=x, taps=taps)


class SmallAudio(nn.Module):
    """Strided 3x3 layers on a spectrogram; the embedding is the maximum over time and frequency.

    `keep_time` takes it over frequency alone, one moment after another. Taps: `layer1` ....
    """

    widths: tuple[int, ...] = (24, 48, 96, 128)
    keep_time: bool = False
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    modality = "audio"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        taps = {}
        for layer, width in enumerate(self.widths, start=1):
            name = f"layer{layer}"
            conv = ConvNormRelu(width, (3, 3), (2, 2), dtype=self.dtype, name=name)
            x = taps[name] = conv(x, train=train)
        embedding = flat(jnp.max(x, axis=2)) if self.keep_time else jnp.max(x, axis=(1, 2))
        embedding = RowDropout(self.dropout)(embedding, train=train, rows=rows)
        return Features(embedding=embedding, map=x, taps=taps)


def flat(moments: Float[Array, "b t c"]) -> Float[Array, "b tc"]:
    return moments.reshape(len(moments), -1)
