"""The kernel gradient of 2D convolutions as matrix products, for XLA's CPU backend.

Its own is slow where maps are large. Here the batch is taken in blocks that stay in the cache, of which
each gives products of two matrices: the inputs at all places, shifted to each column of the kernel, and
the gradients of the outputs, shifted to each of its rows. With both shifts on one side there are more
copies, and the products are narrow.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from avssl.models.precision import parameter_dtype

# Copies of one block: measured best around the size of a core's L2 cache. They may be as large as the
# kernel, to which each block adds.
BLOCK_BYTES = 2**20


def kernel_gradient_by_products(
    x: Array, kernel: Array, g: Array, *, strides: tuple[int, int], padding: tuple[int, int]
) -> Array:
    """Of [batch, height, width, in] and gradients of the outputs; as large as the kernel."""
    width, in_channels, out_channels = kernel.shape[1:]
    groups = row_groups(kernel.shape, strides[0])
    shared = len(groups[0]) if len(groups[0]) > 1 else 0
    copied = g.shape[1] * g.shape[2] * (width * in_channels + shared * out_channels)
    most_bytes = max(BLOCK_BYTES, kernel.size * x.dtype.itemsize)
    blocks = num_blocks(len(g), copied * x.dtype.itemsize, most_bytes)

    x = jnp.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    sums = partial(_sums_of_groups, groups=groups, width=width, strides=strides)
    totals = sums(x, g) if blocks == 1 else _added_up(sums, x, g, blocks)

    taps = {}
    for rows, total in zip(groups, totals, strict=True):
        if len(total) != width * in_channels:
            total = total.T
        each = jnp.split(total.reshape(width, in_channels, -1), len(rows), axis=-1)
        taps |= dict(zip(rows, each, strict=True))
    return jnp.stack([taps[row] for row in sorted(taps)]).astype(kernel.dtype)


def row_groups(kernel_shape: Sequence[int], stride: int) -> list[range]:
    """The kernel rows that share a product, for which the gradients are shifted to each of them.

    They must meet the same lines of the map: all rows without a stride, every other one under a stride of 2.
    Each is on its own where that makes fewer copies, as it does with few channels.
    """
    height, width, in_channels, out_channels = kernel_shape
    groups = [range(first, height, stride) for first in range(min(stride, height))]
    shared = len(groups) * width * in_channels + height * out_channels
    if height * width * in_channels <= shared:
        return [range(row, row + 1) for row in range(height)]
    return groups


def num_blocks(batch: int, copied_bytes: int, most_bytes: int) -> int:
    """The smallest divisor of the batch that makes a block's copies fit."""
    fitting = (
        n for n in range(1, batch + 1) if batch % n == 0 and batch // n * copied_bytes <= most_bytes
    )
    return next(fitting, batch)


def _added_up(sums: partial, x: Array, g: Array, blocks: int) -> list[Array]:
    # The block is the minor part of the row's number: a batch that is split over devices by its
    # major part then stays where it is, as long as they divide it.
    x, g = (side.reshape(-1, blocks, *side.shape[1:]) for side in (x, g))

    def of_block(block):
        take = partial(jax.lax.dynamic_index_in_dim, index=block, axis=1, keepdims=False)
        return sums(take(x), take(g))

    def add_block(block, totals):
        return jax.tree.map(jnp.add, totals, of_block(block))

    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(of_block, 0))
    return jax.lax.fori_loop(0, blocks, add_block, zeros)


def _sums_of_groups(
    x: Array, g: Array, groups: list[range], width: int, strides: tuple[int, int]
) -> list[Array]:
    """Of each group [columns and input channels, rows and output channels], or turned if that is wide."""
    _, out_height, out_width, _ = g.shape
    found = []
    for rows in groups:
        lines = out_height + len(rows) - 1
        y_end, x_end = strides[0] * (lines - 1) + 1, strides[1] * (out_width - 1) + 1
        columns = [
            x[:, rows[0] : rows[0] + y_end : strides[0], first : first + x_end : strides[1]]
            for first in range(width)
        ]
        shifted = [
            jnp.pad(g, ((0, 0), (row, len(rows) - 1 - row), (0, 0), (0, 0)))
            for row in range(len(rows))
        ]
        found.append(_sum_of_products(_side_by_side(columns), _side_by_side(shifted)))
    return found


def _side_by_side(maps: list[Array]) -> Array:
    """The channels of all maps at each place: [places, channels]."""
    return jnp.concatenate(maps, axis=-1).reshape(-1, sum(each.shape[-1] for each in maps))


def _sum_of_products(x: Array, g: Array) -> Array:
    """x^T @ g, or g^T @ x where x is the wider: with the narrow one to the left the product is faster."""
    narrow, wide = sorted((x, g), key=lambda side: side.shape[1])
    return jnp.matmul(narrow.T, wide, preferred_element_type=parameter_dtype(x.dtype))
