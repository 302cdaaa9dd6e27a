"""Draws that are functions of (key, row of the global batch): the same on any number of devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

DRAW_RNG = "draw"


class RowDropout(nn.Module):
    """Dropout whose mask for an example depends on its row in the global batch alone.

    flax's own draws one mask for the array that a device happens to hold.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *rest"], *, train: bool, rows: Int[Array, "b"] | None
    ) -> Float[Array, "b *rest"]:
        if not train or self.rate == 0:
            return x
        if rows is None:
            raise ValueError("dropout in training needs `rows`, the rows of the global batch")
        key = self.make_rng(DRAW_RNG)

        def keep(row: Array) -> Array:
            return jax.random.bernoulli(jax.random.fold_in(key, row), 1 - self.rate, x.shape[1:])

        return jnp.where(jax.vmap(keep)(rows), x / (1 - self.rate), jnp.zeros_like(x))
