"""Transforms by products, as TPUs take them, against numpy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.signal.fourier import back_in_time, half_spectrum, in_two_steps, largest_factor


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [1, 7, 12, 64, 1500])
def test_two_steps_are_the_transform(size):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, size)) + 1j * random.normal(size=(2, 3, size))
    there = in_two_steps(jnp.asarray(x), 1)
    np.testing.assert_allclose(there, np.fft.fft(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(in_two_steps(there, -1) / size, x, rtol=1e-9, atol=1e-9)


def test_long_sounds_keep_the_precision_of_float32():
    x = np.random.default_rng(1).normal(size=(1, 2, 75_000))
    found = in_two_steps(jnp.asarray(x, jnp.complex64), 1)
    expected = np.fft.fft(x)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_half_of_a_spectrum_and_the_way_back():
    x = np.random.default_rng(2).normal(size=(2, 3, 90)).astype(np.float32)
    np.testing.assert_allclose(half_spectrum(jnp.asarray(x)), np.fft.rfft(x), rtol=1e-4, atol=1e-4)
    whole = jnp.asarray(np.fft.fft(x), jnp.complex64)
    np.testing.assert_allclose(back_in_time(whole).real, x, rtol=1e-4, atol=1e-5)


def test_a_tpu_gets_no_matrix_of_the_whole_size():
    sounds = jax.ShapeDtypeStruct((1, 32, 75_000), jnp.float32)
    lowered = jax.jit(half_spectrum).trace(sounds).lower(lowering_platforms=("tpu",))
    assert "fft" not in lowered.as_text().lower()


@pytest.mark.parametrize(("size", "factor"), [(75_000, 250), (12, 3), (7, 1), (64, 8)])
def test_steps_are_as_even_as_the_size_allows(size, factor):
    assert largest_factor(size) == factor
