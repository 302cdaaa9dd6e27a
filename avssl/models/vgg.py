"""VGG-like encoders: the two of L3-Net and the two of DMC, which are VGG-16 and VGGish."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.blocks import ConvNormRelu
from avssl.models.convolution import HE_NORMAL, Conv
from avssl.models.features import Features
from avssl.models.max_pool import max_pool2d
from avssl.models.pooling import pooling_named
from avssl.models.precision import parameter_dtype


class _ConvBiasRelu(nn.Module):
    """A 3x3 convolution as it was before BatchNorm."""

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        held = parameter_dtype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), held)
        x = Conv(self.features, (3, 3), dtype=self.dtype, name="conv")(x)
        return nn.relu(x + bias.astype(self.dtype)[None, None, None])


class _VggTrunk(nn.Module):
    """Blocks of 3x3 convolutions, a 2x2 max pooling after each but the last.

    With `odd_edges` the pooling keeps the last row or column of an odd map, as Keras' padding
    "same" does; else it is lost.
    """

    widths: tuple[int, ...]
    layers: tuple[int, ...]
    dtype: DTypeLike
    batch_norm: bool = True
    odd_edges: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> dict[str, Array]:
        taps = {}
        stages = zip(self.widths, self.layers, strict=True)
        for block, (width, num_layers) in enumerate(stages, start=1):
            for layer in range(1, num_layers + 1):
                name = f"conv{block}_{layer}"
                if self.batch_norm:
                    x = ConvNormRelu(width, dtype=self.dtype, name=name)(x, train=train)
                else:
                    x = _ConvBiasRelu(width, self.dtype, name=name)(x)
            if block < len(self.widths):
                if self.odd_edges:  # zeros change no maximum after a ReLU
                    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
                x = max_pool2d(x, window=2, stride=2, padding=0)
            taps[f"conv{block}"] = x
        return taps


def _by_frame(trunk: nn.Module, x: Array, *, train: bool) -> dict[str, Array]:
    """The trunk's taps for each frame by itself, with time as the second axis."""
    taps = trunk(x.reshape(-1, *x.shape[2:]), train=train)
    return {name: tap.reshape(*x.shape[:2], *tap.shape[1:]) for name, tap in taps.items()}


class L3Video(nn.Module):
    """L3-Net's vision network (Arandjelovic and Zisserman, ICCV 2017), on each frame by itself.

    Taps `conv1` to `conv4` are the blocks' outputs, pooled but for the last. A frame's embedding is
    the maximum over positions (the paper's final 28x28 pooling at 224 pixels). L3-Net sees one
    frame; of several the embedding is the mean. BatchNorm is PyTorch's kind, with epsilon 1e-5.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    dtype: DTypeLike = jnp.float32

    modality = "video"
    by_frame = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        trunk = _VggTrunk(self.widths, (2,) * len(self.widths), self.dtype, name="trunk")
        taps = _by_frame(trunk, x, train=train)
        last = taps[f"conv{len(self.widths)}"]
        return Features(embedding=jnp.max(last, axis=(2, 3)).mean(axis=1), map=last, taps=taps)


class L3Audio(nn.Module):
    """L3-Net's audio network: the vision network's layers on a spectrogram with one channel.

    Taps as in `L3Video`; the embedding is the maximum over time and frequency.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    dtype: DTypeLike = jnp.float32

    modality = "audio"
    any_length = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        trunk = _VggTrunk(self.widths, (2,) * len(self.widths), self.dtype, name="trunk")
        taps = trunk(x, train=train)
        last = taps[f"conv{len(self.widths)}"]
        return Features(embedding=jnp.max(last, axis=(1, 2)), map=last, taps=taps)


class Vgg16Video(nn.Module):
    """DMC's image network: VGG16 without its last pooling and its linear layers, on each frame.

    Simonyan and Zisserman 2015 (ICLR, arXiv 1409.1556), as in DMC (Hu et al., CVPR 2019, released
    `models/videoNet.py`): 13 convolutions with biases; maps of 16x16x512 at 256 pixels. Taps `conv1`
    to `conv5` are the blocks' outputs, pooled but for the last. The released code clusters the map
    and pools nothing; here `embedding` is its `pooling` ("max" or "mean") over positions, and the
    mean over frames. `batch_norm` puts a norm in the place of each bias, for training from nothing.

    linear: (4096, 4096) has VGG-16's fc6 and fc7 on top of the map, pooled once more: the second, after its
    ReLU, is then the embedding, from which a linear layer of 1000 classes is the whole of SoundNet's teacher.
    They fit one size of pictures, 224 px as published; without the dropout of 0.5 that trains them. Names of
    torchvision's `vgg16`: `vgg16` in `torch_names.py`; its kind with norms has biases too, and no place here.

    Departure: weights are drawn by He et al.'s rule where Keras draws by Glorot's, under which 13
    layers of ReLU without norms fade. The release starts from ImageNet's ("it is better").
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    layers: tuple[int, ...] = (2, 2, 3, 3, 3)
    batch_norm: bool = False
    pooling: str = "max"
    linear: tuple[int, ...] = ()
    dtype: DTypeLike = jnp.float32

    modality = "video"
    by_frame = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        pool = pooling_named(self.pooling)
        trunk = _VggTrunk(self.widths, self.layers, self.dtype, self.batch_norm, name="trunk")
        taps = _by_frame(trunk, x, train=train)
        last = taps[f"conv{len(self.widths)}"]
        frames = self.after_linear(last) if self.linear else pool(last, axis=(2, 3))
        return Features(embedding=frames.mean(axis=1), map=last, taps=taps)

    def after_linear(self, last: Float[Array, "b t h w c"]) -> Float[Array, "b t d"]:
        x = max_pool2d(last.reshape(-1, *last.shape[2:]), window=2, stride=2, padding=0)
        x = x.reshape(*last.shape[:2], -1)
        settings = {"kernel_init": HE_NORMAL, "dtype": self.dtype}
        for number, width in enumerate(self.linear, start=1):
            held = parameter_dtype(self.dtype)
            layer = nn.Dense(width, param_dtype=held, name=f"linear{number}", **settings)
            x = nn.relu(layer(x))
        return x


class VggishAudio(nn.Module):
    """DMC's sound network: the six convolutions of VGGish on a spectrogram, without a last pooling.

    Hershey et al. 2017 (ICASSP, arXiv 1609.09430), as in DMC (Hu et al., CVPR 2019, released
    `models/audioNet.py`): biases, poolings that halve odd sizes upwards. Taps `conv1` to `conv4` are
    the blocks' outputs, pooled but for the last. `embedding` is the `pooling` ("max" or "mean") over
    time and frequency, `batch_norm` and the departure are as in `Vgg16Video`. AVTS (Korbar et al.,
    NeurIPS 2018) has a VGG-like sound network too, whose layers are not verified. Names of the usual
    PyTorch port: `vggish` in `torch_names.py`.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    layers: tuple[int, ...] = (1, 1, 2, 2)
    batch_norm: bool = False
    pooling: str = "max"
    dtype: DTypeLike = jnp.float32

    modality = "audio"
    any_length = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        pool = pooling_named(self.pooling)
        settings = (self.widths, self.layers, self.dtype, self.batch_norm)
        taps = _VggTrunk(*settings, odd_edges=True, name="trunk")(x, train=train)
        last = taps[f"conv{len(self.widths)}"]
        return Features(embedding=pool(last, axis=(1, 2)), map=last, taps=taps)
