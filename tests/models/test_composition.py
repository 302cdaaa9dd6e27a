"""The composition and the cosine classifier against their formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models.composition import Composition
from avssl.models.cosine_classifier import CosineClassifier
from avssl.models.unit import unit_vectors

PRESENT = np.array([1, 0, 1, 1], bool)
SIZE, CLASSES = 5, 3


def draw(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def composition_params() -> dict:
    return {
        "mix": {"kernel": draw(2 * SIZE, SIZE, seed=2), "bias": draw(SIZE, seed=3)},
        "classifier": {"kernel": draw(SIZE, CLASSES, seed=4), "bias": draw(CLASSES, seed=5)},
    }


@jax.jit
def compose(params, teacher, student):
    return Composition(CLASSES).apply({"params": params}, teacher, student, jnp.asarray(PRESENT))


def test_composition_is_the_teacher_and_a_mixture():
    params, teacher, student = composition_params(), 3 * draw(4, SIZE), draw(4, SIZE, seed=1)
    found = compose(params, teacher, student)
    both = np.concatenate([unit(teacher), unit(student)], axis=1)
    composed = teacher + both @ params["mix"]["kernel"] + params["mix"]["bias"]
    logits = composed @ params["classifier"]["kernel"] + params["classifier"]["bias"]
    for name, expected in (("composed", composed), ("logits", logits)):
        np.testing.assert_allclose(found[name][PRESENT], expected[PRESENT], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found[name], found[f"{name}_detached"])


@jax.jit
def gradients(params, teacher, student, weights):
    def total(params, teacher, student):
        found = compose(params, teacher, student)
        return sum(jnp.sum(weights[name] * found[name][PRESENT]) for name in weights)

    return jax.grad(total, (0, 1, 2))(params, teacher, student)


def test_twins_reach_the_layers_alike_and_the_student_not_at_all():
    weights = {"composed": draw(3, SIZE, seed=6), "logits": draw(3, CLASSES, seed=7)}
    inputs = composition_params(), draw(4, SIZE), draw(4, SIZE, seed=1)
    attached = gradients(*inputs, weights)
    detached = gradients(*inputs, {f"{name}_detached": x for name, x in weights.items()})
    for one, other in zip(jax.tree.leaves(attached[0]), jax.tree.leaves(detached[0]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for _, teacher, _ in (attached, detached):
        np.testing.assert_array_equal(teacher, 0.0)
    np.testing.assert_array_equal(detached[2], 0.0)
    assert (np.abs(attached[2][PRESENT]).max(axis=1) > 1e-3).all()

    # What absent rows hold reaches neither outputs nor gradients.
    params, teacher, student = inputs
    filled = (np.where(PRESENT[:, None], x, np.float32(np.nan)) for x in (teacher, student))
    jax.tree.map(np.testing.assert_array_equal, gradients(params, *filled, weights), attached)


def test_vectors_of_zeros_are_composed_and_classified():
    zeros, params = np.zeros((4, SIZE), np.float32), composition_params()
    found = compose(params, zeros, zeros)
    expected = np.tile(params["mix"]["bias"], (4, 1))
    np.testing.assert_allclose(found["composed"], expected, rtol=1e-6)
    weights = {"composed": draw(3, SIZE, seed=6)}
    assert all(
        np.isfinite(g).all() for g in jax.tree.leaves(gradients(params, zeros, zeros, weights))
    )


def test_classes_are_directions():
    x, kernel = draw(4, SIZE), draw(SIZE, CLASSES, seed=1)
    kernel[:, 2] = 0.0
    classify = jax.jit(lambda kernel, x: CosineClassifier(CLASSES).apply({"params": kernel}, x))
    cosine = classify({"kernel": kernel}, x)
    np.testing.assert_allclose(cosine[:, :2], unit(x) @ unit(kernel[:, :2].T).T, atol=1e-6)
    np.testing.assert_array_equal(cosine[:, 2], 0.0)
    np.testing.assert_allclose(classify({"kernel": 7 * kernel}, 3 * x), cosine, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda k: classify(k, x).sum()))({"kernel": kernel})["kernel"]
    np.testing.assert_array_equal(gradient[:, 2], 0.0)
    assert np.isfinite(gradient).all()


def test_unit_vectors_along_any_axis():
    x = draw(2, 3, 4)
    for axis in (-1, 1):
        expected = x / np.linalg.norm(x, axis=axis, keepdims=True)
        np.testing.assert_allclose(unit_vectors(jnp.asarray(x), axis=axis), expected, rtol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("dtype", "held"), [("float32", "float32"), ("bfloat16", "float32"), ("float64", "float64")]
)
def test_parameters_are_held_wide(dtype, held):
    x, key = jnp.zeros((2, SIZE), dtype), jax.random.key(0)
    present = jnp.ones(2, bool)
    found, variables = jax.eval_shape(
        lambda x: Composition(CLASSES, dtype=dtype).init_with_output(key, x, x, present), x
    )
    assert found["composed"].dtype == held
    assert found["logits"].dtype == dtype
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
    cosine, variables = jax.eval_shape(
        lambda x: CosineClassifier(CLASSES, dtype=dtype).init_with_output(key, x), x
    )
    assert cosine.dtype == held
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
