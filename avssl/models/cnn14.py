"""PANNs' CNN14: a sound tagger, and the teacher that much of distillation hears with."""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.errors import UsageError
from avssl.models.blocks import ConvNormRelu
from avssl.models.draws import RowDropout
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.models.pooling import mean_pool2d
from avssl.models.precision import parameter_dtype

# The released `init_layer`.
XAVIER = nn.initializers.xavier_uniform()


class Cnn14(nn.Module):
    """CNN14 without its tag classifier `fc_audioset` (2048 -> 527, a sigmoid for each tag).

    Kong et al. 2020 (PANNs, IEEE TASLP, arXiv 1912.10211), as in `pytorch/models.py` of the release:
    a BatchNorm of each mel band, six blocks of two 3x3 convolutions, 2x2 mean poolings after all but
    the last; the mean over frequency, then maximum plus mean over time; a linear layer and ReLU, whose
    output is the embedding (2048; CCL takes `Cnn14_emb512`: embedding_size=512). Taps: `block1` to
    `block6`, pooled; the map is `block6`.

    Its front end is the released one at 32 kHz: 64 Slaney mels from 50 Hz to 14 kHz of frames of
    1024 samples every 320, reflected at the ends, in plain decibel without a lower limit (10 s: 1001
    frames). Dropouts are 0 as for a teacher: the release trains with block_dropout=0.2 after each
    block and dropout=0.5 before and after the linear layer. It also masks stripes of the spectrogram
    and mixes clips, which are augmentations and not here.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    embedding_size: int = 2048
    block_dropout: float = 0.0
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    modality = "audio"
    any_length = True
    frontend: ClassVar[dict[str, Any]] = {
        "name": "log_mel",
        "num_mels": 64,
        "fft_size": 1024,
        "hop_seconds": 0.01,
        "min_hz": 50.0,
        "max_hz": 14000.0,
        "padding": "reflect",
        "last_frame": True,
        "top_db": None,
    }

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        least = 2 ** (len(self.widths) - 1)
        if min(x.shape[1:3]) < least:
            raise UsageError(
                f"CNN14 needs {least} frames and {least} bands, not {x.shape[1]} and {x.shape[2]}: give "
                "its view more seconds, or its front end more mels"
            )
        drop = partial(RowDropout(self.dropout), train=train, rows=rows)
        x = BatchNorm(dtype=self.dtype, name="norm0")(x.swapaxes(2, 3), train=train).swapaxes(2, 3)
        taps = {}
        for block, width in enumerate(self.widths, start=1):
            layer = partial(ConvNormRelu, width, kernel_init=XAVIER, dtype=self.dtype)
            for number in (1, 2):
                x = layer(name=f"block{block}_{number}")(x, train=train)
            if block < len(self.widths):
                x = mean_pool2d(x, window=2)
            x = taps[f"block{block}"] = RowDropout(self.block_dropout)(x, train=train, rows=rows)
        moments = jnp.mean(x, axis=2)
        pooled = jnp.max(moments, axis=1) + jnp.mean(moments, axis=1)
        linear = nn.Dense(
            self.embedding_size,
            kernel_init=XAVIER,
            dtype=self.dtype,
            param_dtype=parameter_dtype(self.dtype),
            name="linear",
        )
        embedding = drop(nn.relu(linear(drop(pooled))))
        return Features(embedding=embedding, map=x, taps=taps)
