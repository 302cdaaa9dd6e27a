"""The maximum of windows of a map, with a gradient that is fast on the platform that is compiled for."""

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def max_pool2d(
    x: Float[Array, "b h w c"], *, window: int, stride: int, padding: int
) -> Float[Array, "b h2 w2 c"]:
    """The maximum of windows of the map; beyond its edges is nothing.

    Where two inputs of a window are equal the gradient is the first one's, or on GPU shared, which shows
    nowhere after a ReLU: it has no gradient at the only value that occurs twice.
    """
    pool = {"window": window, "stride": stride, "padding": padding}
    return jax.lax.platform_dependent(
        x,
        cpu=partial(_max_with_places, tuple(pool.values()), x.shape[1:3]),
        tpu=partial(_max_of_windows, **pool),
        default=partial(_max_of_shifted, **pool),
    )


def _max_of_windows(x: Array, *, window: int, stride: int, padding: int) -> Array:
    # Flax types `padding` by its default.
    edges: Any = ((padding,) * 2,) * 2
    return nn.max_pool(x, (window,) * 2, (stride,) * 2, edges)


def _max_of_shifted(x: Array, *, window: int, stride: int, padding: int) -> Array:
    return reduce(jnp.maximum, _places(x, window, stride, padding))


def _places(x: Array, window: int, stride: int, padding: int) -> Iterator[Array]:
    """For each place in a window, row by row, what all windows have there."""
    x = _resized(x, padding, [size + 2 * padding for size in x.shape[1:3]], fill=-jnp.inf)
    height, width = ((size - window) // stride + 1 for size in x.shape[1:3])
    for row in range(window):
        for column in range(window):
            yield x[
                :,
                row : row + stride * (height - 1) + 1 : stride,
                column : column + stride * (width - 1) + 1 : stride,
            ]


def _resized(x: Array, before: int, sizes: Sequence[int], fill: float = 0.0) -> Array:
    """The map with `before` more rows and columns before its first, and cut or filled to `sizes`."""
    edges = [
        (before, size - before - old, 0) for size, old in zip(sizes, x.shape[1:3], strict=True)
    ]
    return jax.lax.pad(x, jnp.array(fill, x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _max_with_places(pool: tuple[int, int, int], sizes: tuple[int, int], x: Array) -> Array:
    """The maximum; its gradient goes to the place in the window where it was.

    XLA's CPU gradient of a pooling window is 7 times slower than that of `_max_of_shifted`, and that adds up
    padded copies in one loop which computes the cotangent anew for each: 13 times slower in AVID's stem.
    """
    window, stride, padding = pool
    return _max_of_shifted(x, window=window, stride=stride, padding=padding)


def _max_with_places_forward(pool, sizes, x):
    first, *others = _places(x, *pool)
    maximum, place = first, jnp.zeros(first.shape, jnp.int32)
    for number, other in enumerate(others, start=1):
        place = jnp.where(other > maximum, number, place)
        maximum = jnp.maximum(maximum, other)
    return maximum, place


def _max_with_places_backward(pool, sizes, place, g):
    window, stride, padding = pool
    # Every input is in a block of `stride` by `stride`, and in the windows that begin there or `reach` before.
    reach = (window - 1) // stride
    blocks = [size + reach for size in g.shape[1:3]]
    around = [size + reach for size in blocks]
    # Windows that are none have no cotangent, so it does not matter which place they name.
    place, g = _resized(place, reach, around), _resized(g, reach, around)
    g = jax.lax.optimization_barrier(g)  # its producers stay out of the sums

    def gradient(row: int, column: int) -> Array:
        """Of the inputs that stand there in their blocks."""
        total = jnp.zeros((len(g), *blocks, g.shape[-1]), g.dtype)
        for up in range((window - 1 - row) // stride + 1):
            for left in range((window - 1 - column) // stride + 1):
                number = (row + stride * up) * window + column + stride * left
                begin = reach - up, reach - left
                windows = jnp.s_[
                    :, begin[0] : begin[0] + blocks[0], begin[1] : begin[1] + blocks[1]
                ]
                total += jnp.where(place[windows] == number, g[windows], 0)
        return total

    rows = [
        jnp.stack([gradient(row, column) for column in range(stride)], axis=3)
        for row in range(stride)
    ]
    whole = jnp.stack(rows, axis=2)
    whole = whole.reshape(len(g), *(stride * size for size in blocks), g.shape[-1])
    return (_resized(whole, -padding, sizes),)


_max_with_places.defvjp(_max_with_places_forward, _max_with_places_backward)
