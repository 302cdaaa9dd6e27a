"""Variables drawn at random, without the seconds that compiling an initialiser takes."""

import jax
import jax.numpy as jnp
import numpy as np


def drawn(module, shape):
    """Kernels as He et al. have them; norms and biases stay positive."""
    random = np.random.default_rng(1)

    def draw(leaf):
        if leaf.ndim == 1:
            return random.uniform(0.5, 1.0, size=leaf.shape).astype(np.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return random.normal(scale=scale, size=leaf.shape).astype(np.float32)

    return jax.tree.map(draw, of_shapes(module, shape, jnp.float32))


def drawn_evenly(module, shape, low, high):
    """In float64, everything between two numbers."""
    random = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: random.uniform(low, high, leaf.shape), of_shapes(module, shape, jnp.float64)
    )


def of_shapes(module, shape, dtype):
    x = jax.ShapeDtypeStruct(shape, dtype)
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)
