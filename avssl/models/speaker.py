"""A speaker encoder: a ResNet that keeps the frequencies, and statistics over time."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.convolution import HE_FAN_OUT, Conv
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.models.precision import parameter_dtype
from avssl.models.residual import BasicBlock, residual_stages

# Under the root of the variance over time.
EPSILON = 1e-7


class SpeakerResNet34(nn.Module):
    """The ResNet-34 of WeSpeaker's "r-vector", with statistics pooling, to an embedding of 256.

    Zhang et al. 2021 ("Knowledge Distillation from Multi-Modality to Single-Modality for Person
    Verification", Interspeech) release no code and the paper's text was not available: that its audio
    network is this one is not verified. This one is their group's, as in `wespeaker/models/resnet.py`
    (embed_dim=256, TSTP, one embedding layer): a 3x3 stem without stride or pooling, four stages; of
    each channel in each frequency the mean and the standard deviation (unbiased, plus 1e-7 under its
    root) over time; a linear layer. It hears 80 log-mel bands of 25 ms every 10 ms, each less its
    mean over the utterance there; no front end here subtracts that. Taps: `conv1`, `layer1` to
    `layer4`. In a map of one moment the variances count as 0.

    Departure: weights start by He et al.'s rule, where the release leaves PyTorch's default.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    embedding_size: int = 256
    dtype: DTypeLike = jnp.float32

    modality = "audio"
    any_length = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        norm = partial(BatchNorm, dtype=self.dtype)
        settings = {"kernel_init": HE_FAN_OUT, "dtype": self.dtype, "name": "conv1"}
        x = Conv(self.widths[0], (3, 3), **settings)(x)
        x = nn.relu(norm(name="norm1")(x, train=train))
        taps = {"conv1": x} | residual_stages(
            x,
            partial(BasicBlock, kernel_size=(3, 3), norm=norm, dtype=self.dtype),
            widths=self.widths,
            blocks=self.blocks,
            strides=self.strides,
            train=train,
        )
        x = taps[f"layer{len(self.blocks)}"]
        linear = nn.Dense(
            self.embedding_size,
            dtype=self.dtype,
            param_dtype=parameter_dtype(self.dtype),
            name="linear",
        )
        return Features(embedding=linear(statistics_over_time(x)), map=x, taps=taps)


def statistics_over_time(x: Float[Array, "b t f c"]) -> Float[Array, "b n"]:
    """All means, then all deviations, each channel by channel and by frequency within."""
    wide = x.astype(parameter_dtype(x.dtype)).transpose(0, 1, 3, 2)
    mean = jnp.mean(wide, axis=1)
    square = jnp.sum((wide - mean[:, None]) ** 2, axis=1) / max(x.shape[1] - 1, 1)
    both = jnp.stack([mean, jnp.sqrt(square + EPSILON)], axis=1)
    return both.reshape(len(x), -1).astype(x.dtype)
