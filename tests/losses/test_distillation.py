"""Softened logits and SoundNet's probabilities against loops in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.distillation import (
    smooth_l1,
    softened_divergence,
    soundnet_divergence,
    soundnet_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 1, 0, 1], bool)


@partial(jax.jit, static_argnums=2)
def soften(student, teacher, temperature, present):
    loss = partial(softened_divergence, temperature=temperature, present=present)
    return jax.value_and_grad(loss)(student, teacher)


def softmax(logits):
    weights = np.exp(logits)
    return weights / weights.sum()


def draw(*shape, seed: int = 0) -> np.ndarray:
    return 2 * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_softened_logits_equal_loops(temperature):
    student, teacher = draw(4, 5), draw(4, 5, seed=1)
    loss, gradient = soften(
        jnp.asarray(student), jnp.asarray(teacher), temperature, jnp.asarray(PRESENT)
    )
    rows, expected = [], np.zeros_like(student)
    for i in np.flatnonzero(PRESENT):
        p, q = softmax(teacher[i] / temperature), softmax(student[i] / temperature)
        rows.append(temperature**2 * (p * np.log(p / q)).sum())
        # That of the cross-entropy with soft targets, times T^2.
        expected[i] = temperature * (q - p) / PRESENT.sum()
    np.testing.assert_allclose(loss, np.mean(rows), rtol=1e-12)
    np.testing.assert_allclose(gradient, expected, atol=1e-14)


def test_extreme_logits_stay_finite():
    student, teacher = (jnp.asarray(1e4 * draw(4, 5, seed=i), jnp.float32) for i in (0, 1))
    loss, gradient = soften(student, teacher, 1.0, jnp.asarray(PRESENT))
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def soundnet_arrays() -> tuple[dict, dict]:
    """Two teachers; one of them is certain in one place."""
    logits = {"objects": draw(4, 3, 7), "scenes": draw(4, 3, 5, seed=1)}
    targets = {
        name: np.apply_along_axis(softmax, 2, draw(*x.shape, seed=2)) for name, x in logits.items()
    }
    targets["objects"][0, 1] = np.eye(7)[4]
    return logits, targets


@pytest.mark.usefixtures("float64")
def test_soundnet_equals_loops():
    logits, targets = soundnet_arrays()
    loss, divergences = jax.jit(partial(soundnet_loss, scale=250.0))(
        jax.tree.map(jnp.asarray, logits),
        jax.tree.map(jnp.asarray, targets),
        present=jnp.asarray(PRESENT),
    )
    outputs = []
    for name, answers in logits.items():
        num_classes = answers.shape[2]
        for slot in range(3):
            total = 0.0
            for i in np.flatnonzero(PRESENT):
                q = softmax(answers[i, slot])
                for k in range(num_classes):
                    p = targets[name][i, slot, k]
                    total += p * np.log(p / q[k]) if p > 0 else 0.0
            outputs.append(total / (PRESENT.sum() * num_classes))
            np.testing.assert_allclose(divergences[name][slot], outputs[-1], rtol=1e-12)
    assert len(outputs) == 6
    np.testing.assert_allclose(loss, 250 * np.mean(outputs), rtol=1e-12)


def test_a_certain_teacher_teaches_its_class_alone():
    """Where the target is 0 the only gradient is that of the softmax."""
    logits, targets = soundnet_arrays()

    def loss(answers):
        return soundnet_divergence(
            answers, jnp.asarray(targets["objects"], jnp.float32), present=jnp.ones(4, bool)
        )[1]

    answers = jnp.asarray(logits["objects"], jnp.float32)
    gradient = jax.jit(jax.grad(loss))(answers)
    expected = (softmax(logits["objects"][0, 1]) - np.eye(7)[4]) / (4 * 7)
    np.testing.assert_allclose(gradient[0, 1], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.usefixtures("float64")
def test_smooth_l1_and_its_slope_have_no_jump():
    at = jnp.array([1 / 9 - 1e-9, 1 / 9 + 1e-9])
    slope = jax.vmap(jax.grad(partial(smooth_l1, quadratic_until=1 / 9)))
    np.testing.assert_allclose(smooth_l1(at, quadratic_until=1 / 9), 1 / 18, rtol=1e-6)
    np.testing.assert_allclose(slope(at), 1.0, rtol=1e-6)
    np.testing.assert_allclose(slope(-at), -1.0, rtol=1e-6)
