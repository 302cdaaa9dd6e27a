import numpy as np
import pytest
from jax.image import resize as jax_resize

from avssl.errors import AvsslError
from avssl.evaluate.heat_maps import INTERPOLATIONS, fused, resize, scaled


def random_map(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize(("shape", "size"), [((7, 7), 224), ((3, 5), 16), ((40, 30), 16)])
def test_resizing_is_bilinear_without_antialiasing(shape, size, float64):
    heat = random_map(shape)
    expected = jax_resize(heat, (size, size), "bilinear", antialias=False)
    np.testing.assert_allclose(resize(heat, size), expected, atol=1e-12)


@pytest.mark.parametrize(("shape", "size"), [((7, 7), 30), ((3, 5), 16), ((9, 6), 5)])
def test_corners_stay_in_the_corners(shape, size):
    heat = random_map(shape)
    found = resize(heat, size, "bilinear_corners")
    for row, column in np.ndindex(size, size):
        y, x = (
            at * (cells - 1) / (size - 1) for at, cells in zip((row, column), shape, strict=True)
        )
        top, left = min(int(y), shape[0] - 2), min(int(x), shape[1] - 2)
        down, right = y - top, x - left
        upper = (1 - right) * heat[top, left] + right * heat[top, left + 1]
        lower = (1 - right) * heat[top + 1, left] + right * heat[top + 1, left + 1]
        np.testing.assert_allclose(
            found[row, column], (1 - down) * upper + down * lower, atol=1e-12
        )
    np.testing.assert_allclose(
        found[[0, 0, -1, -1], [0, -1, 0, -1]], heat[[0, 0, -1, -1], [0, -1, 0, -1]]
    )


def keys(distance):
    """The cubic kernel in its textbook form, with a = -0.75."""
    d, a = abs(distance), -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


@pytest.mark.parametrize(("shape", "size"), [((7, 7), 12), ((3, 5), 9), ((9, 6), 5)])
def test_bicubic_equals_loops(shape, size):
    heat = random_map(shape)
    found = resize(heat, size, "bicubic")
    for row, column in np.ndindex(size, size):
        y, x = ((at + 0.5) * c / size - 0.5 for at, c in zip((row, column), shape, strict=True))
        expected = 0.0
        # Cells beyond the edge are those at the edge once more.
        for i in range(-3, shape[0] + 3):
            for j in range(-3, shape[1] + 3):
                cell = heat[np.clip(i, 0, shape[0] - 1), np.clip(j, 0, shape[1] - 1)]
                expected += keys(y - i) * keys(x - j) * cell
        np.testing.assert_allclose(found[row, column], expected, atol=1e-12)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_what_needs_no_resizing_stays(interpolation):
    heat = random_map((6, 6))
    np.testing.assert_array_equal(resize(heat, 6, interpolation), heat)
    flat = resize(np.full((3, 4), 0.1), 17, interpolation)
    np.testing.assert_array_equal(flat, np.full((17, 17), 0.1))
    assert resize(random_map((3, 4)), 1, interpolation).shape == (1, 1)
    np.testing.assert_allclose(
        resize(np.array([[1.0], [3.0]]), 3, interpolation)[:, 1], [1, 2, 3], atol=0.3
    )


def test_scaling_and_fusing():
    heat, objects = np.array([[-2.0, 0.0, 2.0]]), np.array([[9.0, 5.0, 5.0]])
    np.testing.assert_array_equal(scaled(heat), [[0, 0.5, 1]])
    np.testing.assert_array_equal(scaled(np.full((2, 2), 7.0)), np.full((2, 2), 7.0))
    # 0.4 of the first and 0.6 of the second: 0.6, 0.2, 0.4, scaled once more.
    np.testing.assert_allclose(fused(heat, objects), [[1, 0, 0.5]], atol=1e-12)
    np.testing.assert_array_equal(fused(heat, objects, 1.0), scaled(heat))


def test_bad_input_is_refused():
    with pytest.raises(AvsslError, match="not finite"):
        resize(np.full((3, 3), np.nan), 5)
    with pytest.raises(ValueError, match="shape"):
        resize(np.zeros((1, 3, 3)), 5)
    with pytest.raises(ValueError, match="one of bilinear, bilinear_corners, bicubic, not 'cubic'"):
        resize(np.eye(3), 5, "cubic")
