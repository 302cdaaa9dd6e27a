"""Poolings, with gradients that are fast on the platform that is compiled for."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from avssl.errors import unknown

# Of a map, to one vector.
POOLINGS = {"max": jnp.max, "mean": jnp.mean}


def max_pool2d(
    x: Float[Array, "b h w c"], *, window: int, stride: int, padding: int
) -> Float[Array, "b h2 w2 c"]:
    """The maximum of windows of the map; beyond its edges is nothing.

    Where two inputs of a window are equal the gradient is shared, or on TPU the first one's, which
    shows nowhere after a ReLU: it has no gradient at the only value that occurs twice.
    """
    pool = {"window": window, "stride": stride, "padding": padding}
    return jax.lax.platform_dependent(
        x, tpu=partial(_max_of_windows, **pool), default=partial(_max_of_shifted, **pool)
    )


def _max_of_windows(x: Array, *, window: int, stride: int, padding: int) -> Array:
    # Flax types `padding` by its default.
    edges: Any = ((padding,) * 2,) * 2
    return nn.max_pool(x, (window,) * 2, (stride,) * 2, edges)


def _max_of_shifted(x: Array, *, window: int, stride: int, padding: int) -> Array:
    """Of copies: XLA's CPU gradient of a pooling window is 7 times slower."""
    x = jnp.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)), constant_values=-jnp.inf)
    height, width = ((size - window) // stride + 1 for size in x.shape[1:3])
    shifted = (
        x[
            :,
            row : row + stride * (height - 1) + 1 : stride,
            column : column + stride * (width - 1) + 1 : stride,
        ]
        for row in range(window)
        for column in range(window)
    )
    return reduce(jnp.maximum, shifted)


def max_pool1d(x: Float[Array, "b t w c"], *, window: int) -> Float[Array, "b t2 w c"]:
    """The maximum over `window` positions of the first axis at a time; a last part of one is lost.

    Of shifted copies: the gradient of `jnp.max` divides by how many inputs equal the maximum, which is none
    where XLA computes an input twice and rounds it differently.
    """
    end = x.shape[1] // window * window
    return reduce(jnp.maximum, (x[:, first:end:window] for first in range(window)))


def mean_pool2d(x: Float[Array, "b h w c"], *, window: int) -> Float[Array, "b h2 w2 c"]:
    """The mean over squares; a last part of one is lost."""
    height, width = x.shape[1] // window, x.shape[2] // window
    x = x[:, : height * window, : width * window]
    return jnp.mean(x.reshape(len(x), height, window, width, window, -1), axis=(2, 4))


def pooling_named(name: str) -> Callable:
    if name not in POOLINGS:
        raise unknown("pooling", name, POOLINGS)
    return POOLINGS[name]
