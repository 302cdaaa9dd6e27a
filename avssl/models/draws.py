"""Draws that are functions of (key, row of the global batch): the same on any number of devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
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


class StochasticDepth(nn.Module):
    """Leaves out a residual branch for some examples (Huang et al. 2016), each by its row alone.

    `rate` may be an array, as that of a block in a scan is; None leaves out nothing.
    """

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b *rest"],
        rate: ArrayLike | None,
        *,
        train: bool,
        rows: Int[Array, "b"] | None,
    ) -> Float[Array, "b *rest"]:
        if not train or rate is None:
            return x
        if rows is None:
            raise ValueError(
                "stochastic depth in training needs `rows`, the rows of the global batch"
            )
        key = self.make_rng(DRAW_RNG)
        keep = 1 - jnp.asarray(rate, jnp.float32)
        kept = jax.vmap(lambda row: jax.random.bernoulli(jax.random.fold_in(key, row), keep))(rows)
        kept = kept.reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros_like(x))


def split_tokens(
    key: Array, rows: Int[Array, "b"], num_tokens: int, num_kept: int
) -> tuple[Int[Array, "b k"], Int[Array, "b rest"]]:
    """Places of kept tokens and of the others, each in order, drawn for each row of the global batch."""

    def draw(row: Array) -> tuple[Array, Array]:
        order = jax.random.permutation(jax.random.fold_in(key, row), num_tokens).astype(jnp.int32)
        return jnp.sort(order[:num_kept]), jnp.sort(order[num_kept:])

    return jax.vmap(draw)(rows)
