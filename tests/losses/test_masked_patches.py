"""Errors of hidden patches."""

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.masked_patches import patch_errors


def test_the_mean_square_of_each_row():
    predicted, inputs = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = patch_errors(jnp.asarray(predicted), jnp.asarray(inputs))
    np.testing.assert_allclose(found, ((predicted - inputs) ** 2).mean(axis=(1, 2)), rtol=1e-5)


def test_standardised_patches_have_no_brightness_and_no_contrast():
    inputs = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    brighter = 3 * inputs + np.arange(3, dtype=np.float32)[:, None]
    zeros = jnp.zeros_like(inputs)
    for some in (inputs, brighter):
        found = patch_errors(zeros, jnp.asarray(some), standardise=True)
        np.testing.assert_allclose(found, 1.0, rtol=1e-4)
    flat = patch_errors(zeros, jnp.ones_like(inputs), standardise=True)
    np.testing.assert_allclose(flat, 0.0, atol=1e-6)


def test_no_gradient_reaches_the_inputs():
    ones = jnp.ones((2, 3, 4))
    gradient = jax.grad(lambda x: patch_errors(jnp.zeros_like(x), x).sum())(ones)
    assert not np.any(gradient)


def test_nothing_hidden_is_no_error():
    found = patch_errors(jnp.zeros((2, 0, 4)), jnp.zeros((2, 0, 4)))
    np.testing.assert_array_equal(found, np.zeros(2))
