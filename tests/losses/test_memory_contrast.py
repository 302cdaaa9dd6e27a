"""Contrast against two memories against loops in numpy, and draws from other classes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.memory_contrast import (
    SIDES,
    draw_other_classes,
    memory_nce_loss,
    memory_softmax_loss,
    rows_by_class,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
NUM_ROWS, DIM, TEMPERATURE = 12, 4, 0.3
INDEX = np.array([3, 9, 0, 11], np.int32)
PRESENT = np.array([1, 1, 0, 1], bool)
NEGATIVES = np.random.default_rng(5).integers(0, NUM_ROWS, (4, 6)).astype(np.int32)
UNSET = dict.fromkeys(SIDES, np.float32(0.0))
LABEL = np.array([2, 0, 1, -1, 0, 2, 0, 7, 1, 0], np.int32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def arrays(dtype=np.float64) -> dict[str, np.ndarray]:
    """Queries of any length; banks as they are released at first, of about unit length."""
    random = np.random.default_rng(0)
    shapes = dict.fromkeys(SIDES, (4, DIM)) | {f"{side}_bank": (NUM_ROWS, DIM) for side in SIDES}
    return {name: 0.6 * random.standard_normal(s).astype(dtype) for name, s in shapes.items()}


def naive_scores(rows, query, bank):
    """The logits of each present row's own place and then of its negatives."""
    return [
        [
            unit(rows[query][i]) @ rows[f"{bank}_bank"][j] / TEMPERATURE
            for j in (INDEX[i], *NEGATIVES[i])
        ]
        for i in np.flatnonzero(PRESENT)
    ]


PAIRS = (("student", "teacher"), ("teacher", "student"))


def on_device(rows, present=PRESENT, **more):
    rows = {name: jnp.asarray(x) for name, x in rows.items()}
    where = {"index": jnp.asarray(INDEX), "negatives": jnp.asarray(NEGATIVES)}
    return rows | where | {"present": jnp.asarray(present)} | more


nce = jax.jit(partial(memory_nce_loss, temperature=TEMPERATURE), static_argnames="epsilon")
softmax = jax.jit(partial(memory_softmax_loss, temperature=TEMPERATURE))
sort_rows = jax.jit(rows_by_class, static_argnames="num_classes")
draw_others = jax.jit(draw_other_classes, static_argnames="num_negatives")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("stored", [0.0, 2.5])
def test_nce_equals_the_released_formula_in_loops(stored):
    """With its Z = n * mean score, its noise 1 / n, and its 1e-7 made large enough to show."""
    rows = arrays()
    partitions = {side: jnp.asarray(stored) for side in SIDES}
    loss, kept, losses = nce(**on_device(rows, partitions=partitions, epsilon=0.01))
    for query, bank in PAIRS:
        scores = np.exp(naive_scores(rows, query, bank))
        constant = (stored or scores.mean()) * NUM_ROWS
        noise = NEGATIVES.shape[1] / NUM_ROWS
        total = 0.0
        for positive, *negative in scores / constant:
            total -= np.log(positive / (positive + noise + 0.01))
            total -= sum(np.log(noise / (p + noise + 0.01)) for p in negative)
        np.testing.assert_allclose(losses[query], total / PRESENT.sum(), rtol=1e-12)
        np.testing.assert_allclose(kept[query] * NUM_ROWS, constant, rtol=1e-12)
    np.testing.assert_allclose(loss, losses["student"] + losses["teacher"], rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_softmax_equals_loops():
    rows = arrays()
    loss, losses = softmax(**on_device(rows))
    for query, bank in PAIRS:
        scores = naive_scores(rows, query, bank)
        expected = np.mean([np.log(np.exp(s).sum()) - s[0] for s in np.array(scores)])
        np.testing.assert_allclose(losses[query], expected, rtol=1e-12)
    np.testing.assert_allclose(loss, losses["student"] + losses["teacher"], rtol=1e-12)


def forward(form: str):
    def loss(queries, others):
        if form == "nce":
            partitions = {side: jnp.zeros(()) for side in SIDES}
            return memory_nce_loss(**queries, **others, partitions=partitions)[0]
        return memory_softmax_loss(**queries, **others)[0]

    return jax.jit(jax.value_and_grad(loss))


FORMS = {form: forward(form) for form in ("nce", "softmax")}
both_forms = pytest.mark.parametrize("form", FORMS)


def gradients_of(form: str, rows, present=PRESENT):
    everything = on_device(rows, present)
    queries = {side: everything.pop(side) for side in SIDES}
    return FORMS[form](queries, everything)


@both_forms
def test_absent_rows_may_hold_anything_and_both_sides_learn(form):
    rows = arrays(np.float32)
    expected = gradients_of(form, rows)
    for side in SIDES:
        gradient = expected[1][side]
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)
        assert (np.abs(gradient[PRESENT]).max(axis=1) > 1e-6).all()
    for filling in (np.nan, np.inf, 1e6):
        other = dict(rows)
        for side in SIDES:
            other[side] = np.where(PRESENT[:, None], rows[side], np.float32(filling))
        jax.tree.map(np.testing.assert_array_equal, gradients_of(form, other), expected)


@both_forms
def test_nobody_and_zero_embeddings_are_finite(form):
    rows = arrays(np.float32)
    loss, gradients = gradients_of(form, rows, np.zeros(4, bool))
    assert loss == 0.0
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0.0), gradients)
    loss, gradients = gradients_of(form, rows | {side: 0 * rows[side] for side in SIDES})
    assert np.isfinite(loss)
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0.0), gradients)
    # Memories of nothing but one direction tell nobody from another.
    flat = {f"{side}_bank": np.ones((NUM_ROWS, DIM), np.float32) for side in SIDES}
    loss, gradients = gradients_of(form, rows | flat)
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in gradients.values())


def test_an_unset_partition_waits_for_a_row_and_then_stays():
    rows = arrays(np.float32)
    _, waiting, _ = nce(**on_device(rows, np.zeros(4, bool), partitions=UNSET))
    assert all(value == 0.0 for value in waiting.values())
    _, first, _ = nce(**on_device(rows, partitions=waiting))
    _, second, _ = nce(**on_device({k: 2 * x for k, x in rows.items()}, partitions=first))
    assert all(value > 0.0 for value in first.values())
    assert first["student"] != first["teacher"]
    jax.tree.map(np.testing.assert_array_equal, second, first)


def test_bf16_is_computed_in_float32():
    rows = arrays(np.float32)
    half = {side: jnp.asarray(rows[side], jnp.bfloat16) for side in SIDES}
    wide = {side: x.astype(jnp.float32) for side, x in half.items()}
    loss, _ = softmax(**on_device(rows | half))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, softmax(**on_device(rows | wide))[0], rtol=1e-6)


def draws_of(label, num_draws: int, held=LABEL):
    rows, borders = sort_rows(jnp.asarray(held), num_classes=3)
    return draw_others(
        jax.random.split(jax.random.key(0), len(label)),
        label=jnp.asarray(label, jnp.int32),
        rows=rows,
        borders=borders,
        num_negatives=num_draws,
    )


def test_rows_are_sorted_by_class_and_those_without_come_last():
    rows, borders = sort_rows(jnp.asarray(LABEL), num_classes=3)
    np.testing.assert_array_equal(borders, [0, 4, 6, 8])
    np.testing.assert_array_equal(rows, [1, 4, 6, 9, 2, 8, 0, 5, 3, 7])


def test_negatives_are_uniform_over_the_other_classes():
    num_draws = 4000
    negatives, has_negatives = draws_of([0, 1, 2], num_draws)
    assert has_negatives.all()
    for label, drawn in enumerate(negatives):
        others = np.flatnonzero((label != LABEL) & (LABEL >= 0) & (LABEL < 3))
        counts = np.bincount(drawn, minlength=len(LABEL))
        assert counts[others].sum() == num_draws
        expected = num_draws / len(others)
        assert np.sum((counts[others] - expected) ** 2 / expected) < 22  # p < 0.001 for 6 places


def test_draws_are_the_row_s_own():
    label = jnp.array([0, 2, 1, 2], jnp.int32)
    rows, borders = sort_rows(jnp.asarray(LABEL), num_classes=3)
    draw = partial(draw_others, rows=rows, borders=borders, num_negatives=20)
    keys = jax.random.split(jax.random.key(1), 4)
    negatives, _ = draw(keys, label=label)
    order = jnp.array([2, 0, 3, 1])
    np.testing.assert_array_equal(draw(keys[order], label=label[order])[0], negatives[order])
    assert not np.array_equal(negatives[1], negatives[3])


def test_rows_without_other_classes_have_no_negatives():
    negatives, has_negatives = draws_of([0, -1, 3, 1], 5)
    np.testing.assert_array_equal(has_negatives, [True, False, False, True])
    assert ((negatives >= 0) & (negatives < len(LABEL))).all()
    one_class = jnp.zeros(len(LABEL), jnp.int32)
    negatives, has_negatives = draws_of([0, 1, 0, 2], 5, held=one_class)
    # Its own rows have no other class, and to every other class they are others.
    np.testing.assert_array_equal(has_negatives, [False, True, False, True])
    assert ((negatives >= 0) & (negatives < len(LABEL))).all()
