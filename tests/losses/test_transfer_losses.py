"""What all losses of distillation have in common: absent rows, gradients, degenerate batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.distillation import softened_divergence, soundnet_loss
from avssl.losses.hints import attention_loss, hint_loss, selectivity_loss, variational_loss
from avssl.losses.kernel_transfer import information_flow, probabilistic_transfer
from avssl.losses.precision import widen
from avssl.losses.relations import (
    kernel_congruence,
    neighbour_congruence,
    relational_angle,
    relational_distance,
    similarity_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 0, 1, 1, 1, 0], bool)
MAPS = ((6, 4, 6, 3), (6, 2, 6, 5))
VECTORS = ((6, 5), (6, 8))
SAME = ((6, 5), (6, 5))


def posteriors(student, teacher, *, present):
    """SoundNet's loss of two slots, the teacher's answer made positive."""
    logits, answers = (x.reshape(len(x), 2, -1) for x in (student, teacher))
    targets = jax.nn.softmax(widen(answers))
    return soundnet_loss({"objects": logits}, {"objects": targets}, present=present, scale=1.0)[0]


def likelihood(student, teacher, *, present):
    raw_variance = jnp.linspace(-1, 1, student.shape[-1], dtype=jnp.float32)
    return variational_loss(student, teacher, raw_variance, present=present)


adaptive_flow = partial(information_flow, kernels=("adaptive_rbf",))
flow_kl = partial(information_flow, divergence="kl")

# The loss, shapes of student and teacher, and whether equal features mean loss 0.
ANSWERS = {
    "softened": (softened_divergence, SAME, True),
    "soundnet": (posteriors, ((6, 8), (6, 8)), True),
}
HINTS = {
    "hint": (hint_loss, ((6, 2, 3, 4), (6, 2, 3, 4)), True),
    "attention": (attention_loss, MAPS, True),
    "variational": (likelihood, SAME, False),
    "selectivity": (selectivity_loss, MAPS, True),
}
RELATIONS = {
    "similarity": (similarity_loss, MAPS, True),
    "neighbours": (neighbour_congruence, SAME, True),
    "congruence": (kernel_congruence, MAPS, True),
    "distances": (relational_distance, MAPS, True),
    "angles": (relational_angle, MAPS, True),
    "probabilities": (probabilistic_transfer, MAPS, True),
    "flow": (information_flow, MAPS, True),
    "adaptive_flow": (adaptive_flow, VECTORS, True),
    "flow_kl": (flow_kl, VECTORS, False),
}
LOSSES = {**ANSWERS, **HINTS, **RELATIONS}
# Here the teacher's side is the output of a layer that learns.
TEACHER_LEARNS = ("neighbours",)
every_loss = pytest.mark.parametrize("name", LOSSES)
FORWARD = {name: jax.jit(loss) for name, (loss, *_) in LOSSES.items()}
GRADIENTS = {name: jax.jit(jax.value_and_grad(loss, (0, 1))) for name, (loss, *_) in LOSSES.items()}


def features(name: str, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in LOSSES[name][1]]


def compute(name: str, student, teacher, present=PRESENT):
    arrays = jnp.asarray(student), jnp.asarray(teacher)
    return GRADIENTS[name](*arrays, present=jnp.asarray(present))


@every_loss
def test_absent_rows_are_as_if_not_in_the_batch(name):
    student, teacher = features(name)
    fewer = jnp.asarray(student[PRESENT]), jnp.asarray(teacher[PRESENT])
    expected = FORWARD[name](*fewer, present=jnp.ones(PRESENT.sum(), bool))
    np.testing.assert_allclose(compute(name, student, teacher)[0], expected, rtol=1e-5)


@every_loss
def test_absent_rows_may_hold_anything_and_only_the_student_learns(name):
    student, teacher = features(name)
    expected = compute(name, student, teacher)
    loss, (to_student, to_teacher) = expected
    assert np.isfinite(loss)
    np.testing.assert_array_equal(to_student[~PRESENT], 0.0)
    assert (np.abs(to_student[PRESENT]).max(axis=tuple(range(1, student.ndim))) > 1e-7).all()
    if name not in TEACHER_LEARNS:
        np.testing.assert_array_equal(to_teacher, 0.0)
    for filling in (np.nan, np.inf, -1e6):
        other = [x.copy() for x in (student, teacher)]
        for x in other:
            x[~PRESENT] = filling
        jax.tree.map(np.testing.assert_array_equal, compute(name, *other), expected)


@every_loss
def test_nobody_has_loss_zero(name):
    loss, gradients = compute(name, *features(name), np.zeros(6, bool))
    assert loss == 0.0
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0.0), gradients)


@every_loss
def test_one_row_all_rows_equal_and_zeros_are_finite(name):
    student, teacher = features(name)
    alone = np.zeros(6, bool)
    alone[3] = True
    flat = [np.broadcast_to(x[:1], x.shape) for x in (student, teacher)]
    for arrays, present in (
        ((student, teacher), alone),
        ((flat[0], teacher), PRESENT),
        ((student, flat[1]), PRESENT),
        (flat, PRESENT),
        ((0 * student, teacher), PRESENT),
        ((student, 0 * teacher), PRESENT),
        ((0 * student, 0 * teacher), PRESENT),
        ((1e-20 * student, teacher), PRESENT),
    ):
        loss, gradients = compute(name, *arrays, present)
        assert np.isfinite(loss)
        assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("blocks", [2, 6])
@pytest.mark.parametrize("name", [name for name in RELATIONS if name != "neighbours"])
def test_blocks_change_no_loss_and_no_gradient(name, blocks):
    student, teacher = (jnp.asarray(x, jnp.float64) for x in features(name))
    in_blocks = jax.value_and_grad(partial(LOSSES[name][0], blocks=blocks))
    found = jax.jit(in_blocks)(student, teacher, present=jnp.asarray(PRESENT))
    loss, (to_student, _) = compute(name, student, teacher)
    np.testing.assert_allclose(found[0], loss, rtol=1e-12)
    np.testing.assert_allclose(found[1], to_student, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in RELATIONS if name != "flow_kl"])
def test_one_row_has_no_relation(name):
    alone = np.zeros(6, bool)
    alone[3] = True
    loss, _ = compute(name, *features(name), alone)
    np.testing.assert_allclose(loss, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name][2]])
def test_a_perfect_student_has_loss_and_gradient_zero(name):
    student, _ = features(name)
    loss, (to_student, _) = compute(name, student, student)
    np.testing.assert_allclose(loss, 0.0, atol=1e-6)
    np.testing.assert_allclose(to_student, 0.0, atol=1e-6)
    # A student of another draw is not perfect.
    assert compute(name, student, features(name, seed=1)[0])[0] > 1e-5


@every_loss
def test_bf16_is_computed_in_float32(name):
    arrays = [jnp.asarray(x, jnp.bfloat16) for x in features(name)]
    loss = FORWARD[name](*arrays, present=jnp.asarray(PRESENT))
    assert loss.dtype == jnp.float32
    wide, _ = compute(name, *(x.astype(jnp.float32) for x in arrays))
    np.testing.assert_allclose(loss, wide, rtol=1e-5)


@every_loss
@pytest.mark.usefixtures("float64")
def test_the_student_s_dtype_decides(name):
    narrow, wide = (
        [jax.ShapeDtypeStruct(x.shape, dtype) for x in features(name)]
        for dtype in (jnp.float32, jnp.float64)
    )
    present = jax.ShapeDtypeStruct(PRESENT.shape, bool)
    for student, teacher in ((narrow[0], wide[1]), (wide[0], narrow[1])):
        loss = jax.eval_shape(FORWARD[name], student, teacher, present=present)
        assert loss.dtype == student.dtype


@pytest.mark.parametrize("name", RELATIONS)
def test_the_order_of_the_batch_matters_to_neighbours_alone(name):
    student, teacher = features(name)
    order = np.array([2, 0, 5, 1, 4, 3])
    loss, _ = compute(name, student, teacher, np.ones(6, bool))
    other, _ = compute(name, student[order], teacher[order], np.ones(6, bool))
    assert np.allclose(loss, other, rtol=1e-5) == (name != "neighbours")
