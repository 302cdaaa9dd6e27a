"""Mutual learning: its terms against loops, and which side each of them teaches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.mutual import bernoulli_divergence, mutual_loss

pytestmark = pytest.mark.usefixtures("strict_dtypes")
AUDIO = np.array([1, 1, 0, 1, 1, 0], bool)
VIDEO = np.array([1, 0, 1, 1, 1, 0], bool)
TAGGED = np.array([1, 1, 1, 0, 1, 1], bool)
BOTH = AUDIO & VIDEO
# Of the first row two tags are not known, among them the first.
KNOWN = np.repeat(TAGGED[:, None], 4, axis=1)
KNOWN[0, [0, 2]] = False
NAMES = ("student_logits", "teacher_logits", "student_embedding", "teacher_branch")
TAGS, SIZE = 4, 5

loss_of = jax.jit(mutual_loss, static_argnames="one_way")


def inputs(seed: int = 0, dtype=np.float64) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = (TAGS, TAGS, SIZE, SIZE)
    rows = {
        name: random.standard_normal((6, size)).astype(dtype)
        for name, size in zip(NAMES, sizes, strict=True)
    }
    return rows | {"tags": (random.random((6, TAGS)) < 0.4).astype(dtype)}


def filled(rows: dict, value: float) -> dict[str, jax.Array]:
    held = dict.fromkeys(rows, AUDIO) | {"teacher_logits": BOTH}
    held = {name: rows[:, None] for name, rows in held.items()} | {"tags": AUDIO[:, None] & KNOWN}
    return {
        name: jnp.asarray(np.where(held[name], x, x.dtype.type(value))) for name, x in rows.items()
    }


def masks(audio=AUDIO, video=VIDEO) -> dict:
    return {
        "student_present": jnp.asarray(audio),
        "other_present": jnp.asarray(video),
        "known": jnp.asarray(KNOWN),
    }


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def entropy(share, logits):
    p = sigmoid(logits)
    return -(share * np.log(p) + (1 - share) * np.log(1 - p)).sum()


def of_known(tags, logits, row):
    return entropy(tags[row][KNOWN[row]], logits[row][KNOWN[row]])


def divergence(target, logits):
    share = sigmoid(target)
    return entropy(share, logits) - entropy(share, target)


def naive_terms(rows) -> dict[str, float]:
    student, teacher, embedding, audio, tags = rows.values()
    audio_rows, pairs = np.flatnonzero(AUDIO), np.flatnonzero(BOTH)
    tagged, tagged_pairs = np.flatnonzero(AUDIO & TAGGED), np.flatnonzero(BOTH & TAGGED)
    return {
        "student_classification": np.mean([of_known(tags, student, i) for i in tagged]),
        "teacher_classification": np.mean([of_known(tags, teacher, i) for i in tagged_pairs]),
        "single_modal": np.mean([((embedding[i] - audio[i]) ** 2).sum() for i in audio_rows]),
        "cross_modal": np.mean(
            [divergence(teacher[i], student[i]) + divergence(student[i], teacher[i]) for i in pairs]
        ),
    }


@pytest.mark.usefixtures("float64")
def test_equals_loops_whatever_absent_rows_hold():
    rows = inputs()
    expected = naive_terms(rows)
    weights = {"single_modal_weight": 0.3, "cross_modal_weight": 0.7}
    for value in (np.nan, np.inf):
        loss, metrics = loss_of(**filled(rows, value), **weights, **masks())
        for name, term in expected.items():
            np.testing.assert_allclose(metrics[name], term, rtol=1e-10)
        total = np.dot(list(expected.values()), [1.0, 1.0, 0.3, 0.7])
        np.testing.assert_allclose(loss, total, rtol=1e-10)
        assert int(metrics["num_rows"]) == AUDIO.sum()
        assert int(metrics["num_pairs"]) == BOTH.sum()
        assert int(metrics["num_labelled"]) == (AUDIO & TAGGED).sum()


@functools.partial(jax.jit, static_argnames="one_way")
def gradient_of(rows, single_modal_weight, cross_modal_weight, masks, one_way=False):
    def loss(rows):
        weights = {
            "single_modal_weight": single_modal_weight,
            "cross_modal_weight": cross_modal_weight,
        }
        return mutual_loss(**rows, **weights, **masks, one_way=one_way)[0]

    return jax.grad(loss)(rows)


@pytest.mark.usefixtures("float64")
def test_each_side_is_taught_by_its_own_losses_alone():
    """The gradients of L_student and L_teacher, each with what it learns from held fixed."""
    rows = inputs()
    student, teacher, embedding, audio, tags = rows.values()
    found = gradient_of(filled(rows, np.nan), 0.3, 0.7, masks())
    both, heard = BOTH[:, None], AUDIO[:, None]
    # d KL(target || x) / dx = sigmoid(x) - sigmoid(target), as of the cross-entropy.
    crossed = 0.7 * (sigmoid(student) - sigmoid(teacher)) * both / BOTH.sum()
    of_tags = (sigmoid(student) - tags) * (heard & KNOWN) / (AUDIO & TAGGED).sum()
    np.testing.assert_allclose(found["student_logits"], of_tags + crossed, rtol=1e-9, atol=1e-12)
    of_tags = (sigmoid(teacher) - tags) * (both & KNOWN) / (BOTH & TAGGED).sum()
    np.testing.assert_allclose(found["teacher_logits"], of_tags - crossed, rtol=1e-9, atol=1e-12)
    apart = 0.3 * 2 * (embedding - audio) * heard / AUDIO.sum()
    np.testing.assert_allclose(found["student_embedding"], apart, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["teacher_branch"], -apart, rtol=1e-9, atol=1e-12)
    one_way = gradient_of(filled(rows, np.nan), 0.3, 0.7, masks(), one_way=True)
    for name in ("student_logits", "student_embedding"):
        np.testing.assert_array_equal(one_way[name], found[name])
    np.testing.assert_allclose(one_way["teacher_logits"], of_tags, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(one_way["teacher_branch"], 0.0)


def test_without_transfer_each_learns_alone():
    rows = inputs(dtype=np.float32)
    alone = gradient_of(filled(rows, 0.0), 0.0, 0.0, masks())
    for name in ("student_embedding", "teacher_branch"):
        np.testing.assert_array_equal(alone[name], 0.0)
    other = rows | {"teacher_logits": -rows["teacher_logits"]}
    again = gradient_of(filled(other, 0.0), 0.0, 0.0, masks())
    np.testing.assert_array_equal(alone["student_logits"], again["student_logits"])


@pytest.mark.parametrize(
    ("audio", "video"), [(False, True), (True, False), (False, False)], ids=str
)
def test_batches_without_a_modality(audio, video):
    rows = filled(inputs(dtype=np.float32), np.nan)
    batch = masks(AUDIO & audio, VIDEO & video)
    _, metrics = loss_of(**rows, **batch)
    assert metrics["cross_modal"] == metrics["teacher_classification"] == 0.0
    assert (metrics["single_modal"] > 0.0) == audio
    gradient = gradient_of(rows, 1.0, 1.0, batch)
    np.testing.assert_array_equal(gradient["teacher_logits"], 0.0)
    assert all(np.isfinite(g).all() for g in gradient.values())


def test_certain_tags_do_not_overflow():
    certain, opposite = jnp.full((2, 3), 200.0), jnp.full((2, 3), -200.0)
    np.testing.assert_allclose(bernoulli_divergence(certain, opposite), 600.0)
    np.testing.assert_array_equal(bernoulli_divergence(certain, certain), 0.0)
    gradient = jax.grad(lambda x: bernoulli_divergence(certain, x).sum())(opposite)
    np.testing.assert_allclose(gradient, -1.0)


def test_bf16_is_computed_in_float32():
    rows = {name: jnp.asarray(x, jnp.bfloat16) for name, x in filled(inputs(), 0.0).items()}
    loss, _ = loss_of(**rows, **masks())
    wide = {name: x.astype(jnp.float32) for name, x in rows.items()}
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(loss, loss_of(**wide, **masks())[0])
