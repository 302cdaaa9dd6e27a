"""The three levels of distillation against loops over rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.three_level import (
    DISTRIBUTIONS,
    embedding_level,
    kernel_level,
    moment_level,
    similarity_level,
    three_level_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
INDEX = np.array([4, 7, 4, 1, 9, 2], np.int32)
PRESENT = np.array([1, 1, 1, 0, 1, 1], bool)
NAMES = ("student", "teacher", "student_logits", "teacher_logits")
TEMPERATURE, HEAT = 0.2, 3.0
SIZE, CLASSES = 5, 4

weights = ("label_weight", "embedding_weight", "distribution_weight")
loss_of = jax.jit(three_level_loss, static_argnames=("distribution", *weights))
likeness_of = jax.jit(similarity_level)


def inputs(dtype=np.float64, size: int = SIZE) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    sizes = (size, size, CLASSES, CLASSES)
    return {
        name: random.standard_normal((6, columns)).astype(dtype)
        for name, columns in zip(NAMES, sizes, strict=True)
    }


def filled(rows: dict, value: float) -> dict[str, jax.Array]:
    return {
        name: jnp.asarray(np.where(PRESENT[:, None], x, x.dtype.type(value)))
        for name, x in rows.items()
    }


def masks(index=INDEX, present=PRESENT) -> dict[str, jax.Array]:
    return {"index": jnp.asarray(index, jnp.int32), "present": jnp.asarray(present)}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def divergence(target, prediction):
    return (target * (np.log(target) - np.log(prediction))).sum()


def naive_label(rows):
    student, teacher = rows["student_logits"] / HEAT, rows["teacher_logits"] / HEAT
    each = [divergence(softmax(teacher[i]), softmax(student[i])) for i in np.flatnonzero(PRESENT)]
    return HEAT**2 * np.mean(each)


def naive_embedding(rows):
    gap = unit(rows["teacher"]) - unit(rows["student"])
    return (gap[PRESENT] ** 2).sum(axis=1).mean()


def naive_similarity(rows):
    each = []
    for i in np.flatnonzero(PRESENT):
        others = [j for j in np.flatnonzero(PRESENT) if INDEX[j] != INDEX[i]]
        shares = [
            softmax(unit(rows[side])[others] @ unit(rows[side])[i] / TEMPERATURE)
            for side in ("teacher", "student")
        ]
        each.append(divergence(*shares))
    return np.mean(each)


def naive_moments(rows):
    student, teacher = (unit(rows[side])[PRESENT] for side in ("student", "teacher"))
    covariances = [np.cov(x, rowvar=False, bias=True) for x in (student, teacher)]
    means = student.mean(axis=0) - teacher.mean(axis=0)
    return (means**2).sum() + ((covariances[0] - covariances[1]) ** 2).sum()


def naive_kernel(rows):
    student, teacher = (unit(rows[side])[PRESENT] for side in ("student", "teacher"))
    k = lambda x, y: ((x @ y.T) ** 2).mean()  # noqa: E731
    return k(teacher, teacher) + k(student, student) - 2 * k(student, teacher)


NAIVE = {"similarity": naive_similarity, "moments": naive_moments, "kernel": naive_kernel}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_equals_loops_whatever_absent_rows_hold(distribution):
    rows = inputs()
    expected = {
        "label": naive_label(rows),
        "embedding": naive_embedding(rows),
        "distribution": NAIVE[distribution](rows),
    }
    assert min(expected.values()) > 1e-3
    for value in (np.nan, np.inf):
        loss, metrics = loss_of(
            **filled(rows, value),
            label_weight=0.5,
            embedding_weight=0.25,
            distribution_weight=2.0,
            distribution=distribution,
            label_temperature=HEAT,
            similarity_temperature=TEMPERATURE,
            **masks(),
        )
        for name, level in expected.items():
            np.testing.assert_allclose(metrics[name], level, rtol=1e-10)
        total = np.dot(list(expected.values()), [0.5, 0.25, 2.0])
        np.testing.assert_allclose(loss, total, rtol=1e-10)
        assert int(metrics["num_rows"]) == PRESENT.sum()


@jax.jit
def gradients(rows, masks):
    """Of each distribution level with the other two."""
    return [
        jax.grad(lambda rows, kind=kind: three_level_loss(**rows, distribution=kind, **masks)[0])(
            rows
        )
        for kind in DISTRIBUTIONS
    ]


def test_teachers_and_absent_rows_have_no_gradient():
    expected = gradients(filled(inputs(np.float32), 0.0), masks())
    for found in expected:
        for name in ("student", "student_logits"):
            assert (np.abs(found[name][PRESENT]).max(axis=1) > 1e-4).all()
            np.testing.assert_array_equal(found[name][~PRESENT], 0.0)
        for name in ("teacher", "teacher_logits"):
            np.testing.assert_array_equal(found[name], 0.0)
    again = gradients(filled(inputs(np.float32), np.nan), masks())
    jax.tree.map(np.testing.assert_array_equal, again, expected)


def test_a_student_like_its_teacher_has_nothing_to_learn():
    """Length says nothing."""
    rows = inputs(np.float32)
    same = rows | {"student": 3.0 * rows["teacher"], "student_logits": rows["teacher_logits"]}
    for kind in DISTRIBUTIONS:
        assert abs(loss_of(**filled(same, 0.0), distribution=kind, **masks())[0]) < 1e-6


def test_a_turn_of_the_whole_space_changes_no_likeness_but_every_embedding():
    teacher = inputs(np.float32)["teacher"]
    turned = teacher @ np.linalg.qr(inputs(np.float32)["student"][:SIZE])[0]
    assert abs(likeness_of(turned, teacher, **masks())) < 1e-5
    present = masks()["present"]
    for level in (embedding_level, moment_level, kernel_level):
        assert level(jnp.asarray(turned), jnp.asarray(teacher), present=present) > 0.05


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("blocks", [2, 6])
def test_blocks_change_no_likeness_and_no_gradient(blocks):
    rows = filled(inputs(), 0.0)

    def both(blocks):
        loss = partial(similarity_level, blocks=blocks, **masks())
        return jax.jit(jax.value_and_grad(loss))(rows["student"], rows["teacher"])

    for found, expected in zip(both(blocks), both(1), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-15)


def test_degenerate_batches():
    rows = filled(inputs(np.float32), 0.0)
    nobody, alone, alike = np.zeros(6, bool), np.arange(6) == 1, np.zeros(6, int)
    zeros = {name: jnp.zeros_like(x) for name, x in rows.items()}
    equal = {name: jnp.ones_like(x) for name, x in rows.items()}
    for kind in DISTRIBUTIONS:
        loss, _ = loss_of(**rows, distribution=kind, **masks(present=nobody))
        assert loss == 0.0
    for some, batch in (
        (rows, masks(present=nobody)),
        (rows, masks(present=alone)),
        (rows, masks(index=alike)),
        (zeros, masks()),
        (equal, masks()),
    ):
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients(some, batch)))
    # No row has another to be like.
    for batch in (masks(present=alone), masks(index=alike)):
        assert likeness_of(rows["student"], rows["teacher"], **batch) == 0.0


def test_only_the_similarity_level_takes_embeddings_of_other_sizes():
    rows = filled(inputs(np.float32) | {"teacher": inputs(np.float32, size=9)["teacher"]}, 0.0)
    loss, metrics = loss_of(**rows, embedding_weight=0.0, **masks())
    assert loss > 0.0
    assert "embedding" not in metrics
    with pytest.raises(ValueError, match="distribution is one of similarity, moments, kernel"):
        three_level_loss(**rows, distribution="kernels", **masks())


def test_bf16_is_computed_in_float32():
    rows = {name: jnp.asarray(x, jnp.bfloat16) for name, x in filled(inputs(), 0.0).items()}
    wide = {name: x.astype(jnp.float32) for name, x in rows.items()}
    for kind in DISTRIBUTIONS:
        loss, metrics = loss_of(**rows, distribution=kind, **masks())
        assert loss.dtype == jnp.float32
        expected = loss_of(**wide, distribution=kind, **masks())
        jax.tree.map(np.testing.assert_array_equal, (loss, metrics), expected)
