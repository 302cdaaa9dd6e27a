"""Losses on relations of rows against loops in numpy, one pair or triple at a time."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.relations import (
    distances,
    kernel_congruence,
    neighbour_congruence,
    relational_angle,
    relational_distance,
    relational_loss,
    similarity_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes", "float64")
PRESENT = np.array([1, 1, 0, 1, 0, 1], bool)
ROWS = np.flatnonzero(PRESENT)


def features(same_width: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    # Far from the origin, as features after a ReLU are.
    return random.standard_normal((6, 4)) + 3, random.standard_normal((6, 4 if same_width else 7))


def loss_of(loss, student, teacher, **options):
    """Compiled once for all its operations: one by one they take longer."""
    arrays = jnp.asarray(student), jnp.asarray(teacher)
    return jax.jit(partial(loss, present=jnp.asarray(PRESENT), **options))(*arrays)


def between_all(rows):
    return distances(rows, rows, jnp.arange(len(rows)))


def unit(vector):
    return vector / np.linalg.norm(vector)


def naive_smooth_l1(x):
    return 0.5 * x**2 if abs(x) < 1 else abs(x) - 0.5


def test_similarity_equals_loops():
    student, teacher = features()

    def products(rows):
        return [unit(np.array([rows[i] @ rows[j] for j in ROWS])) for i in ROWS]

    difference = np.array(products(teacher)) - np.array(products(student))
    expected = (difference**2).sum() / len(ROWS) ** 2
    np.testing.assert_allclose(loss_of(similarity_loss, student, teacher), expected, rtol=1e-12)


def test_neighbour_congruence_pairs_each_present_row_with_the_next():
    student, teacher = features(same_width=True)
    products = [
        sum(abs(student[i] - teacher[i]) * abs(student[j] - teacher[j]))
        for i, j in ((0, 1), (1, 3), (3, 5))
    ]
    loss = loss_of(neighbour_congruence, student, teacher)
    np.testing.assert_allclose(loss, np.mean(products), rtol=1e-12)


def test_both_sides_of_neighbour_congruence_learn():
    arrays = map(jnp.asarray, features(same_width=True))
    present = jnp.asarray(PRESENT)
    to_student, to_teacher = jax.jit(jax.grad(neighbour_congruence, (0, 1)))(
        *arrays, present=present
    )
    np.testing.assert_allclose(to_teacher, -to_student)
    assert (np.abs(to_student[PRESENT]).max(axis=1) > 0).all()


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (1.3, 5)])
def test_kernel_congruence_equals_loops(gamma, order):
    student, teacher = features()

    def kernel(x, y):
        scaled = 2 * gamma * (unit(x) @ unit(y))
        return math.exp(-2 * gamma) * sum(scaled**p / math.factorial(p) for p in range(order + 1))

    squares = [
        (kernel(teacher[i], teacher[j]) - kernel(student[i], student[j])) ** 2
        for i in ROWS
        for j in ROWS
    ]
    loss = loss_of(kernel_congruence, student, teacher, gamma=gamma, order=order)
    np.testing.assert_allclose(loss, np.mean(squares), rtol=1e-12)


def test_a_long_series_is_the_gaussian_kernel():
    student, teacher = features()

    def gaussian(x, y):
        return math.exp(-0.7 * ((unit(x) - unit(y)) ** 2).sum())

    squares = [
        (gaussian(teacher[i], teacher[j]) - gaussian(student[i], student[j])) ** 2
        for i in ROWS
        for j in ROWS
    ]
    loss = loss_of(kernel_congruence, student, teacher, gamma=0.7, order=20)
    np.testing.assert_allclose(loss, np.mean(squares), rtol=1e-9)


def test_relational_distance_equals_loops():
    student, teacher = features()

    def relative(rows):
        pairs = {(i, j): np.linalg.norm(rows[i] - rows[j]) for i in ROWS for j in ROWS}
        mean = np.mean([d for d in pairs.values() if d > 0])
        return {pair: d / mean for pair, d in pairs.items()}

    of_student, of_teacher = relative(student), relative(teacher)
    errors = [naive_smooth_l1(of_student[pair] - of_teacher[pair]) for pair in of_student]
    assert len(errors) == len(ROWS) ** 2
    loss = loss_of(relational_distance, student, teacher)
    np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-12)


def test_relational_angle_equals_loops():
    student, teacher = features()

    def cosine(rows, i, j, k):
        first, second = rows[j] - rows[i], rows[k] - rows[i]
        length = np.linalg.norm(first) * np.linalg.norm(second)
        return first @ second / length if length > 0 else 0.0

    errors = [
        naive_smooth_l1(cosine(student, i, j, k) - cosine(teacher, i, j, k))
        for i in ROWS
        for j in ROWS
        for k in ROWS
    ]
    angle = loss_of(relational_angle, student, teacher)
    np.testing.assert_allclose(angle, np.mean(errors), rtol=1e-12)
    both = loss_of(relational_loss, student, teacher, distance_weight=3.0, angle_weight=2.0)
    distance = loss_of(relational_distance, student, teacher)
    np.testing.assert_allclose(both, 3 * distance + 2 * angle, rtol=1e-12)
    assert loss_of(relational_loss, student, teacher, distance_weight=0.0, angle_weight=0.0) == 0.0


def test_relational_losses_do_not_see_scale_nor_place():
    student, _ = features()
    moved = 7 * student + 100
    np.testing.assert_allclose(loss_of(relational_loss, student, moved), 0.0, atol=1e-20)


def test_distances_of_near_rows_are_no_rounding_noise():
    rows = np.full((3, 4), 1000.0, np.float32)
    rows[1, 0] += 0.125
    found = between_all(jnp.asarray(rows))
    expected = [[0, 0.125, 1e-6], [0.125, 0, 0.125], [1e-6, 0.125, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: between_all(x).sum()))(jnp.asarray(rows[[0, 2]]))
    np.testing.assert_array_equal(gradient, 0.0)
