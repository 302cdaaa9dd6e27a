"""Losses on maps against loops in numpy, on pictures and on videos."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.hints import (
    attention_loss,
    hint_loss,
    pool_to_smaller,
    selectivity_loss,
    variational_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 0, 1, 1], bool)
POSITIONS = pytest.mark.parametrize("positions", [(3, 4), (2, 3, 2)], ids=["picture", "video"])


def draw(*shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def compute(loss, *arrays, **options):
    """Compiled once for all its operations: one by one they take longer."""
    compiled = jax.jit(partial(loss, present=jnp.asarray(PRESENT), **options))
    return compiled(*map(jnp.asarray, arrays))


def flat_rows(features):
    """[row, position, channel] of the rows that are present."""
    return features[PRESENT].reshape(PRESENT.sum(), -1, features.shape[-1])


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.usefixtures("float64")
@POSITIONS
def test_hint_and_likelihood_equal_loops(positions):
    student, teacher = draw(4, *positions, 3), draw(4, *positions, 3, seed=1)
    raw = np.array([-3.0, 0.5, 2.0])
    hint = compute(hint_loss, student, teacher)
    likelihood = compute(variational_loss, student, teacher, raw, least_variance=0.1)
    squares, terms = [], []
    for s, t in zip(flat_rows(student), flat_rows(teacher), strict=True):
        for position, channel in np.ndindex(s.shape):
            square = (s[position, channel] - t[position, channel]) ** 2
            variance = np.log(1 + np.exp(raw[channel])) + 0.1
            squares.append(square)
            terms.append(0.5 * (square / variance + np.log(variance)))
    np.testing.assert_allclose(hint, np.mean(squares), rtol=1e-12)
    np.testing.assert_allclose(likelihood, np.mean(terms), rtol=1e-12)


def test_variances_stay_finite_far_out():
    """The released log(1 + exp(x)) overflows at 89."""
    student, teacher = jnp.zeros((4, 2, 3)), jnp.ones((4, 2, 3))
    present = jnp.asarray(PRESENT)
    for raw in (-1000.0, 1000.0):
        loss = variational_loss(student, teacher, jnp.full(3, raw), present=present)
        variance = max(raw, 0.0) + 1e-5
        np.testing.assert_allclose(loss, 0.5 * (1 / variance + np.log(variance)), rtol=1e-5)


@pytest.mark.usefixtures("float64")
@POSITIONS
def test_attention_equals_loops(positions):
    student, teacher = draw(4, *positions, 3), draw(4, *positions, 5, seed=1)
    loss = compute(attention_loss, student, teacher)
    squares = []
    for s, t in zip(flat_rows(student), flat_rows(teacher), strict=True):
        maps = [unit(np.array([(place**2).mean() for place in x])) for x in (s, t)]
        squares.extend((maps[0] - maps[1]) ** 2)
    np.testing.assert_allclose(loss, np.mean(squares), rtol=1e-12)


@pytest.mark.usefixtures("float64")
@POSITIONS
def test_selectivity_equals_loops(positions):
    student, teacher = draw(4, *positions, 3), draw(4, *positions, 5, seed=1)
    loss = compute(selectivity_loss, student, teacher)

    def kernel(first, second):
        pairs = [
            (unit(first[:, i]) @ unit(second[:, j])) ** 2
            for i, j in np.ndindex(first.shape[1], second.shape[1])
        ]
        return np.mean(pairs)

    expected = [
        kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)
        for s, t in zip(flat_rows(student), flat_rows(teacher), strict=True)
    ]
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-12)


def naive_pool(features, sizes):
    """Adaptive average pooling, one bin after the other."""
    pooled = np.zeros((len(features), *sizes, features.shape[-1]))
    full = features.shape[1:-1]
    for bin_place in np.ndindex(*sizes):
        window = tuple(
            slice(i * n // m, int(np.ceil((i + 1) * n / m)))
            for i, n, m in zip(bin_place, full, sizes, strict=True)
        )
        part = features[(slice(None), *window)]
        pooled[(slice(None), *bin_place)] = part.mean(axis=tuple(range(1, part.ndim - 1)))
    return pooled


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("student", "teacher", "pooled"),
    [
        ((8, 8), (4, 4), (4, 4)),
        ((2, 3), (7, 8), (2, 3)),
        ((7, 2), (3, 5), (3, 2)),
        ((4, 6, 6), (2, 6, 3), (2, 6, 3)),
        ((5, 1), (5, 1), (5, 1)),
    ],
)
def test_the_larger_map_is_pooled_along_each_axis(student, teacher, pooled):
    arrays = draw(2, *student, 3), draw(2, *teacher, 4, seed=1)
    found = jax.jit(pool_to_smaller)(*map(jnp.asarray, arrays))
    for array, features in zip(found, arrays, strict=True):
        np.testing.assert_allclose(array, naive_pool(features, pooled), rtol=1e-12, atol=1e-14)


def test_a_picture_and_a_video_are_no_pair():
    with pytest.raises(ValueError, match="as many axes of positions"):
        pool_to_smaller(jnp.zeros((2, 3, 3, 4)), jnp.zeros((2, 4, 3, 3, 4)))
