"""SoundNet: one-dimensional convolutions on the waveform, and what its two teachers are answered by."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.errors import UsageError
from avssl.models.convolution import Conv
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.models.pooling import max_pool1d

# The released `weights_init`.
KERNEL_INIT = nn.initializers.normal(0.01)


def scale_init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    return 1.0 + nn.initializers.normal(0.02)(key, shape, dtype)


class SoundNet8(nn.Module):
    """The eight-layer SoundNet without its last layer, which is `SlotClassifiers`.

    Aytar, Vondrick & Torralba 2016 (NIPS, arXiv 1610.09001), as in the released `main_train.lua`:
    convolutions of stride 2 with biases, BatchNorm and ReLU, max poolings after the first, second
    and fifth. 20 s at 22050 Hz give maps of 15 moments. Taps: `conv1` to `conv7` and `pool1`, `pool2`,
    `pool5`; the released evaluation takes `pool5`. The map keeps a frequency axis of size 1. The
    released network has no embedding; here it is the mean of the map over time.

    It hears samples in about [-256, 256], which its front end `waveform` with gain=256 gives: where
    they lie in [-1, 1] the first layer's variances vanish beside BatchNorm's epsilon.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    dtype: DTypeLike = jnp.float32

    modality = "audio"
    any_length = True
    fixed_stages = True
    frontend: ClassVar[dict[str, Any]] = {"name": "waveform", "gain": 256.0}
    kernels = (64, 32, 16, 8, 4, 4, 4)
    pools = (8, 8, 1, 1, 4, 1, 1)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        if x.shape[2] != 1:
            raise UsageError(
                f"SoundNet hears a waveform, not a spectrogram of {x.shape[2]} bins: give its "
                "encoder the front end 'waveform' with gain=256"
            )
        num_samples, taps = x.shape[1], {}
        layers = zip(self.widths, self.kernels, self.pools, strict=True)
        for layer, (width, kernel, pool) in enumerate(layers, start=1):
            conv = Conv(
                width,
                (kernel, 1),
                (2, 1),
                kernel_init=KERNEL_INIT,
                bias_init=nn.initializers.zeros,
                dtype=self.dtype,
                name=f"conv{layer}",
            )
            norm = BatchNorm(scale_init=scale_init, dtype=self.dtype, name=f"norm{layer}")
            x = taps[f"conv{layer}"] = nn.relu(norm(conv(x), train=train))
            if pool > 1:
                x = taps[f"pool{layer}"] = max_pool1d(x, window=pool)
            if not x.shape[1]:
                raise UsageError(
                    f"{num_samples} samples are too few for SoundNet: nothing is left of them after "
                    f"layer {layer}; give the view more seconds"
                )
        return Features(embedding=jnp.mean(x, axis=(1, 2)), map=x, taps=taps)


class SoundNet5(SoundNet8):
    """The five-layer SoundNet (`main_train_small.lua`) without its last layer: four wider ones.

    As `SoundNet8`, with a pooling after each of the first three; 20 s give maps of 54 moments.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    kernels = (64, 32, 16, 8)
    pools = (8, 8, 8, 1)


class SlotClassifiers(nn.Module):
    """SoundNet's last layer: for each teacher a convolution over time, whose moments are time slots.

    `classes` are the numbers of classes by the teacher's name; the result is logits [b, slots, k] by
    name. The default is that of the eight-layer network: four slots of 5 s from 15 moments. The
    five-layer one has kernel=16, stride=12, padding=4. The released teachers: 1000 objects of
    ImageNet (`conv8_objs` in the usual PyTorch port), 401 scenes of Places2 (`conv8_scns`).
    """

    classes: Mapping[str, int]
    kernel: int = 8
    stride: int = 2
    padding: int = 0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t 1 c"]) -> dict[str, Float[Array, "b s k"]]:
        if x.shape[1] + 2 * self.padding < self.kernel:
            raise UsageError(
                f"SoundNet's classifiers need {self.kernel - 2 * self.padding} moments, the map has "
                f"{x.shape[1]}: give the view more seconds, or the classifiers a smaller kernel"
            )
        logits = {}
        for name, num_classes in self.classes.items():
            conv = Conv(
                num_classes,
                (self.kernel, 1),
                (self.stride, 1),
                (self.padding, 0),
                kernel_init=KERNEL_INIT,
                bias_init=nn.initializers.zeros,
                dtype=self.dtype,
                name=name,
            )
            logits[name] = conv(x)[:, :, 0]
        return logits
