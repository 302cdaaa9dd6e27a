"""The two implementations of the power spectrum, and how they behave on a mesh."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from avssl.signal.spectrum import _power_by_fft, _power_by_product, hann, power_spectrum

pytestmark = pytest.mark.usefixtures("strict_dtypes")
# Window shorter than, equal to and longer than a hop; shorter than and equal to the FFT.
SIZES = [(480, 512, 240), (1024, 1024, 240), (64, 64, 100), (32, 32, 32)]


def naive(signal: np.ndarray, window: np.ndarray, fft_size: int, hop: int, num_frames: int):
    padded = np.pad(signal, ((0, 0), (0, 0), (0, len(window))))
    frames = [padded[..., i * hop : i * hop + len(window)] * window for i in range(num_frames)]
    return np.abs(np.fft.rfft(np.stack(frames, axis=2), n=fft_size)) ** 2


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("window_size", "fft_size", "hop"), SIZES)
@pytest.mark.parametrize("implementation", [_power_by_fft, _power_by_product])
def test_both_equal_numpy(implementation, window_size: int, fft_size: int, hop: int):
    window = hann(window_size) + 0.1
    num_frames = 7
    length = (num_frames - 1) * hop + window_size
    signal = np.random.default_rng(0).standard_normal((2, 3, length))
    sizes = {"fft_size": fft_size, "hop": hop, "num_frames": num_frames}
    power = implementation(jnp.asarray(signal), window=window, **sizes)
    expected = naive(signal, window, **sizes)
    np.testing.assert_allclose(power, expected, rtol=0, atol=1e-12 * expected.max())


def test_product_is_as_exact_as_the_fft_in_float32():
    """A quiet high tone beside a loud low one: rounding of the loud one must not cover it."""
    time = np.arange(4000) / 24000
    signal = np.sin(2 * np.pi * 440 * time) + 1e-4 * np.sin(2 * np.pi * 9000 * time)
    window = hann(1024)
    sizes = {"fft_size": 1024, "hop": 240, "num_frames": 12}
    exact = naive(signal[None, None], window, **sizes)[..., 380:390]
    assert exact.max() < 1.1e-8 * naive(signal[None, None], window, **sizes).max()
    errors = {}
    for implementation in (_power_by_fft, _power_by_product):
        power = implementation(jnp.asarray(signal, jnp.float32)[None, None], window=window, **sizes)
        errors[implementation] = np.abs(power[..., 380:390] - exact).max() / exact.max()
    assert errors[_power_by_fft] < 0.01
    assert errors[_power_by_product] < 0.01


def test_signal_is_cut_or_filled_up_to_the_frames():
    signal = np.random.default_rng(1).standard_normal((1, 1, 1000))
    sizes = {"fft_size": 64, "hop": 50}
    for num_frames in (3, 25):
        power = power_spectrum(
            jnp.asarray(signal, jnp.float32), hann(64), num_frames=num_frames, **sizes
        )
        expected = naive(np.pad(signal, ((0, 0), (0, 0), (0, 600))), hann(64), 64, 50, num_frames)
        np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-4)


def test_accelerators_gather_no_frames_on_a_mesh():
    """What the FFT would do: XLA does not partition it, so every device would hold all clips."""
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    split = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    sizes = {"fft_size": 64, "hop": 20, "num_frames": 5}
    product = partial(_power_by_product, window=hann(64), **sizes)
    signal = jax.random.normal(jax.random.key(0), (8, 1, 144))
    compiled = jax.jit(product, in_shardings=split, out_shardings=split).lower(signal).compile()
    assert "all-gather" not in compiled.as_text()
    np.testing.assert_allclose(
        compiled(jax.device_put(signal, split)), product(signal), rtol=1e-5, atol=1e-6
    )
