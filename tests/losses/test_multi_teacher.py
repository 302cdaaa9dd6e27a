"""Alignment with several teachers against numpy, row by row."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.hints import attention
from avssl.losses.multi_teacher import joint_attention, multi_teacher_alignment

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 0, 1], bool)
SHAPES = ((3, 4), (2, 2))


@partial(jax.jit, static_argnames=("power", "released"))
def align(student, teachers, present=PRESENT, **options):
    def forward(student, teachers):
        return multi_teacher_alignment(student, teachers, present=jnp.asarray(present), **options)

    return jax.value_and_grad(forward, (0, 1), has_aux=True)(student, teachers)


def levels(channels: int, seed: int, dtype: type = np.float64) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal((3, *shape, channels)).astype(dtype) for shape in SHAPES]


def example(num_teachers: int, dtype: type = np.float64):
    return levels(5, 0, dtype), [levels(6, 1 + k, dtype) for k in range(num_teachers)]


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def naive_attention(features, power):
    energy = (np.abs(features) ** power).mean(axis=-1).ravel()
    return energy / np.linalg.norm(energy)


def naive(student, teachers, temperature, power, released):
    found = []
    for level, features in enumerate(student):
        rows = []
        for row in np.flatnonzero(PRESENT):
            joint = naive_attention(teachers[0][level][row], power)
            for other in teachers[1:]:
                joint = joint * naive_attention(other[level][row], power)
            if len(teachers) > 1:
                joint = joint / joint.sum()
            own = softmax(naive_attention(features[row], power) / temperature)
            joint = softmax(joint / temperature)
            rows.append((joint * (np.log(joint) - (own if released else np.log(own)))).sum())
        found.append(np.mean(rows))
    return found


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("num_teachers", "power", "released"), [(1, 2, False), (3, 2, True), (2, 3, False)]
)
def test_equals_loops(num_teachers, power, released):
    student, teachers = example(num_teachers)
    (loss, parts), gradients = align(
        student, teachers, temperature=0.3, power=power, released=released
    )
    expected = naive(student, teachers, 0.3, power, released)
    np.testing.assert_allclose([parts["level_0"], parts["level_1"]], expected, rtol=1e-10)
    np.testing.assert_allclose(loss, sum(expected), rtol=1e-10)

    step, place = 1e-6, (2, 1, 1, 3)
    values = []
    for sign in (1, -1):
        moved = student[0].copy()
        moved[place] += sign * step
        values.append(sum(naive([moved, student[1]], teachers, 0.3, power, released)))
    difference = (values[0] - values[1]) / (2 * step)
    assert abs(difference) > 1e-4
    np.testing.assert_allclose(gradients[0][0][place], difference, atol=1e-8)
    for gradient in gradients[0]:
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)
    jax.tree.map(lambda gradient: np.testing.assert_array_equal(gradient, 0.0), gradients[1])


@pytest.mark.usefixtures("float64")
def test_who_looks_where_the_teachers_look_has_no_loss():
    _, teachers = example(1)
    (loss, _), gradients = align(teachers[0], teachers, temperature=0.3)
    np.testing.assert_allclose(loss, 0.0, atol=1e-12)
    for gradient in gradients[0]:
        np.testing.assert_allclose(gradient, 0.0, atol=1e-12)
    # As released it is no minimum: the gradient pulls the student elsewhere.
    _, gradients = align(teachers[0], teachers, temperature=0.3, released=True)
    assert np.abs(gradients[0][0]).max() > 1e-3


def test_teachers_agree_on_what_all_of_them_see():
    left, right = np.zeros((2, 1, 2, 4, 3), np.float32)
    left[..., :3, :] = 1.0
    right[..., 1:, :] = 2.0
    joint = jax.jit(joint_attention, static_argnums=1)([left, right], 2, np.ones(1, bool))
    np.testing.assert_allclose(joint.reshape(2, 4), [[0, 0.25, 0.25, 0]] * 2, rtol=1e-6)
    alone = jax.jit(attention, static_argnums=1)(left, 2, np.ones(1, bool))
    np.testing.assert_allclose(alone.reshape(2, 4), [[6**-0.5] * 3 + [0]] * 2, rtol=1e-6)


def test_absent_rows_may_hold_anything():
    student, teachers = example(2, np.float32)
    expected = align(student, teachers)
    assert np.isfinite(expected[0][0])

    def filled(features, filling):
        features = features.copy()
        features[~PRESENT] = filling
        return features

    for filling in (np.nan, np.inf, 0.0, 1e6):
        arrays = jax.tree.map(partial(filled, filling=np.float32(filling)), (student, teachers))
        jax.tree.map(np.testing.assert_array_equal, align(*arrays), expected)


def test_nothing_to_learn_from_is_finite():
    student, teachers = example(2, np.float32)
    (loss, _), gradients = align(student, teachers, np.zeros(3, bool))
    assert loss == 0.0
    jax.tree.map(lambda gradient: np.testing.assert_array_equal(gradient, 0.0), gradients)
    # Maps of zeros attend to nothing: both are uniform.
    (loss, _), gradients = align(*jax.tree.map(np.zeros_like, (student, teachers)))
    np.testing.assert_allclose(loss, 0.0, atol=1e-6)
    jax.tree.map(lambda gradient: np.testing.assert_array_equal(gradient, 0.0), gradients)
    # Teachers that see nothing in common.
    for maps in teachers[0]:
        maps[:, :1] = 0.0
    for maps in teachers[1]:
        maps[:, 1:] = 0.0
    (loss, _), gradients = align(student, teachers)
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients[0])


def test_a_narrow_student_and_a_stored_teacher_are_compared_in_float32():
    student, teachers = example(2, np.float32)
    narrow = [jnp.asarray(features, jnp.bfloat16) for features in student]
    (loss, _), _ = align(narrow, teachers)
    assert loss.dtype == jnp.float32
    (wide, _), _ = align([features.astype(jnp.float32) for features in narrow], teachers)
    np.testing.assert_array_equal(loss, wide)
