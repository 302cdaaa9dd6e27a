"""No encoder: what the front end gives, for methods that compare it as it is."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.features import Features


class IdentityAudio(nn.Module):
    """The embedding is all numbers of the front end one after another, in their own type; no parameters."""

    dtype: DTypeLike = jnp.float32

    modality = "audio"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t f c"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Features:
        return Features(embedding=x.reshape(len(x), -1), map=x)
