"""Gated embedding units, by which MCN brings its modalities into one space."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.precision import parameter_dtype


def _dense(features: int, dtype: DTypeLike, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, param_dtype=parameter_dtype(dtype), name=name)


class GatedEmbedding(nn.Module):
    """y = linear(x), then y * sigmoid(gate(y)), gate being linear too (Miech et al. 2018).

    MCN: 4096 -> 6144 for video, 6144 -> 6144 for text.
    """

    features: int = 6144
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b c"]) -> Float[Array, "b d"]:
        x = _dense(self.features, self.dtype, "linear")(x)
        return x * nn.sigmoid(_dense(self.features, self.dtype, "gate")(x))


class GatedProjection(nn.Module):
    """A gated unit, narrow for its stability in mixed precision, then a linear layer.

    MCN's audio: 1024 -> 1024 gated -> 6144.
    """

    gated_features: int = 1024
    features: int = 6144
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b c"]) -> Float[Array, "b d"]:
        x = GatedEmbedding(self.gated_features, dtype=self.dtype, name="gated")(x)
        return _dense(self.features, self.dtype, "projection")(x)


class WordMaxPool(nn.Module):
    """A linear layer and ReLU on each word, then the maximum over words: MCN's sentence vector.

    As released, the zeros that fill up a short sentence take part.
    """

    features: int = 6144
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, words: Float[Array, "b w c"]) -> Float[Array, "b d"]:
        return jnp.max(nn.relu(_dense(self.features, self.dtype, "linear")(words)), axis=1)
