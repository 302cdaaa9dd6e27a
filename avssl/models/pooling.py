"""Poolings, with gradients that are fast on the platform that is compiled for."""

from collections.abc import Callable
from functools import reduce

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from avssl.errors import unknown

# Of a map, to one vector.
POOLINGS = {"max": jnp.max, "mean": jnp.mean}


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
