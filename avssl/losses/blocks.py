"""Rows in interleaved parts: part j of m is rows j, j + m, j + 2 m, ...

So every part stays spread over all devices that share the rows, and is the same on any number of them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def split_rows(tree: Any, number: int) -> Any:
    """[rows, ...] to [number, rows / number, ...]."""

    def split(leaf: Array) -> Array:
        return jnp.moveaxis(leaf.reshape(-1, number, *leaf.shape[1:]), 1, 0)

    return jax.tree.map(split, tree)


def join_rows(tree: Any) -> Any:
    """The inverse of `split_rows`."""

    def join(leaf: Array) -> Array:
        return jnp.moveaxis(leaf, 0, 1).reshape(-1, *leaf.shape[2:])

    return jax.tree.map(join, tree)


def by_blocks(function: Callable[[Any], Any], rows: Any, *, blocks: int) -> Any:
    """function(rows), of what it says of each row: part by part, each computed anew for the gradient.

    Never more than one part's intermediate arrays are held. `blocks` must divide the number of rows.
    """
    if blocks == 1:
        return function(rows)
    return join_rows(jax.lax.map(jax.checkpoint(function), split_rows(rows, blocks)))
