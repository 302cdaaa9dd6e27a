"""Max pooling whose gradient is fast on CPU."""

from functools import reduce

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def max_pool2d(
    x: Float[Array, "b h w c"], *, window: int, stride: int, padding: int
) -> Float[Array, "b h2 w2 c"]:
    """The maximum over shifted copies: XLA's CPU gradient of a pooling window is 7 times slower.

    Where two inputs of a window are equal the gradient is shared, which shows nowhere after a
    ReLU: it has no gradient at the only value that occurs twice.
    """
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
