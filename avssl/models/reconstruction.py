"""Heads that reconstruct what an embedding came from."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.heads import ProjectionMLP
from avssl.models.precision import parameter_dtype


class Reconstruction(nn.Module):
    """The mean squared error of each row's target, predicted by linear, ReLU, linear, ReLU.

    MCN (Chen et al. 2021): 1024 hidden units. Its targets are the video features, the audio
    encoder's pooled output and the pooled words, each before its gated unit: none is negative,
    hence the last ReLU. The gradient also flows into the target, as released.
    """

    hidden: int = 1024
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, embedding: Float[Array, "b d"], target: Float[Array, "b c"], *, train: bool
    ) -> Float[Array, "b"]:
        mlp = ProjectionMLP((self.hidden, target.shape[-1]), dtype=self.dtype, name="mlp")
        held = parameter_dtype(self.dtype)
        predicted = nn.relu(mlp(embedding, train=train))
        difference = predicted.astype(held) - target.astype(held)
        return jnp.mean(difference**2, axis=-1)
