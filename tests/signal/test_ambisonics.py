import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.signal.ambisonics import decode_mono, rotate_to_view, rotate_yaw, viewing_angles

pytestmark = pytest.mark.usefixtures("strict_dtypes")
SIGNAL = np.sin(np.linspace(0, 9, 30))
# Points of the frame (x, y): the front, left of it, right and below, behind and above.
CENTERS = np.array([[0.5, 0.5], [0.25, 0.4], [0.8, 0.65], [0.02, 0.1]])

to_view = jax.jit(rotate_to_view, static_argnames="official_order")


def plane_wave(azimuth, elevation, dtype=np.float64):
    """SN3D in ACN order, [n, 4]."""
    level = np.cos(elevation)
    gains = [1.0, np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level]
    return jnp.asarray(SIGNAL[:, None] * np.array(gains), dtype)


def angles_of_centers() -> np.ndarray:
    return np.stack(viewing_angles(jnp.asarray(CENTERS)), axis=1)


@pytest.mark.usefixtures("float64")
def test_the_middle_is_the_front_and_left_is_left():
    degrees = np.degrees(angles_of_centers())
    expected = [[0, 0], [90, 18], [-108, -27], [172.8, 72]]
    np.testing.assert_allclose(degrees, expected, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_a_wave_from_the_viewing_direction_comes_to_the_front():
    azimuth, elevation = angles_of_centers().T
    waves = jnp.stack([plane_wave(*both) for both in zip(azimuth, elevation, strict=True)])
    turned = to_view(waves, jnp.asarray(azimuth), jnp.asarray(elevation))
    for wave in turned:
        np.testing.assert_allclose(wave, plane_wave(0.0, 0.0), atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_left_stays_left_and_up_stays_up():
    """Looking to the left on the horizon: what was in front is now on the right."""
    azimuth, elevation = jnp.asarray(np.pi / 2), jnp.asarray(0.0)
    turned = to_view(plane_wave(0.0, 0.0), azimuth, elevation)
    np.testing.assert_allclose(turned, plane_wave(-np.pi / 2, 0.0), atol=1e-12)
    above = to_view(plane_wave(np.pi / 2, 0.3), azimuth, elevation)
    np.testing.assert_allclose(above, plane_wave(0.0, 0.3), atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_the_official_order_misses_the_front():
    """The numbers of the sheet that verified it, for the centre (0.25, 0.4)."""
    azimuth, elevation = angles_of_centers()[1]
    wave = plane_wave(azimuth, elevation)
    official = to_view(wave, jnp.asarray(azimuth), jnp.asarray(elevation), official_order=True)
    gains = np.asarray(official)[5] / SIGNAL[5]
    np.testing.assert_allclose(gains, [1.0, -0.095, 0.294, 0.951], atol=5e-4)
    # With one of the angles 0 the orders agree.
    for angles in ((azimuth, 0.0), (0.0, elevation)):
        both = [
            to_view(wave, *(jnp.asarray(a) for a in angles), official_order=order)
            for order in (False, True)
        ]
        np.testing.assert_allclose(*both, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_yaw_turns_sources_to_the_left():
    turned = jax.jit(rotate_yaw)(plane_wave(0.4, -0.3), jnp.asarray(0.7))
    np.testing.assert_allclose(turned, plane_wave(1.1, -0.3), atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_mono_is_a_cardioid():
    azimuth, elevation = angles_of_centers()[2]
    hear = jax.jit(decode_mono)
    for angle in (0.0, 1.0, np.pi):
        wave = plane_wave(azimuth, elevation + angle)
        mono = hear(wave, jnp.asarray(azimuth), jnp.asarray(elevation))
        np.testing.assert_allclose(mono, (1 + np.cos(angle)) * SIGNAL, atol=1e-12)


def test_dtypes():
    wave = plane_wave(0.4, -0.3, np.float32)
    angles = jnp.float32(0.4), jnp.float32(-0.3)
    assert to_view(wave, *angles).dtype == jnp.float32
    narrow = wave.astype(jnp.bfloat16)
    for function in (rotate_to_view, decode_mono):
        result = function(narrow, *angles)
        assert result.dtype == jnp.bfloat16
        np.testing.assert_array_equal(
            result, function(narrow.astype(jnp.float32), *angles).astype(jnp.bfloat16)
        )
