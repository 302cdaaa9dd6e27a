"""One-layer encoders: enough to run a method end to end, nothing to wait for."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.draws import RowDropout
from avssl.models.features import Features
from avssl.models.norm import BatchNorm
from avssl.models.precision import parameter_dtype


class _LinearPatches(nn.Module):
    """One linear layer and a BatchNorm on square patches of [images, height, width, channels]."""

    features: int
    patch: int
    batch_norm: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        images, height, width, channels = x.shape
        patch = min(self.patch, height, width)
        rows, columns = height // patch, width // patch
        x = x[:, : rows * patch, : columns * patch]
        x = x.reshape(images, rows, patch, columns, patch, channels).swapaxes(2, 3)
        x = x.reshape(images, rows, columns, -1)
        held = parameter_dtype(self.dtype)
        x = nn.Dense(self.features, dtype=self.dtype, param_dtype=held, name="linear")(x)
        return BatchNorm(dtype=self.dtype, name="norm")(x, train=train) if self.batch_norm else x


class LinearVideo(nn.Module):
    """A linear layer on patches of each frame; the embedding is the mean over time and space."""

    features: int = 32
    patch: int = 8
    batch_norm: bool = True
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    modality = "video"
    by_frame = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w 3"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        patches = _LinearPatches(
            self.features, self.patch, self.batch_norm, self.dtype, name="patches"
        )
        frames = patches(x.reshape(-1, *x.shape[2:]), train=train)
        x = frames.reshape(*x.shape[:2], *frames.shape[1:])
        embedding = RowDropout(self.dropout)(x.mean(axis=(1, 2, 3)), train=train, rows=rows)
        return Features(embedding=embedding, map=x)


class LinearAudio(nn.Module):
    """A linear layer on patches of a spectrogram; the embedding is the mean over them."""

    features: int = 32
    patch: int = 8
    batch_norm: bool = True
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    modality = "audio"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        x = _LinearPatches(self.features, self.patch, self.batch_norm, self.dtype, name="patches")(
            x, train=train
        )
        embedding = RowDropout(self.dropout)(x.mean(axis=(1, 2)), train=train, rows=rows)
        return Features(embedding=embedding, map=x)
