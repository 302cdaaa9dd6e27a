import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models.max_pool import max_pool2d


@pytest.mark.parametrize(
    ("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), (5, 2, 2)]
)
def test_equals_pooling_by_windows(window, stride, padding):
    x = jax.random.normal(jax.random.key(0), (2, 7, 9, 3))

    def shifted(x):
        return max_pool2d(x, window=window, stride=stride, padding=padding)

    def windows(x):
        return nn.max_pool(x, (window, window), (stride, stride), ((padding, padding),) * 2)

    np.testing.assert_array_equal(shifted(x), windows(x))

    def gradient(pool):
        return jax.grad(lambda x: jnp.sum(jnp.sin(pool(x))))(x)

    np.testing.assert_allclose(gradient(shifted), gradient(windows), rtol=1e-6)


def test_of_equal_inputs_one_has_the_gradient():
    x = jnp.zeros((1, 6, 6, 2))

    def pooled(x):
        return jnp.sum(max_pool2d(x, window=3, stride=2, padding=1))

    assert jnp.sum(jax.grad(pooled)(x)) == pooled(jnp.ones_like(x))
