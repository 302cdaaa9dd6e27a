"""Knowledge expansion: labels, noise and consistency against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.knowledge_expansion import expansion_loss, hard_labels, relative_noise

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 1, 0, 1, 1], bool)
LABELS = np.array([2, -1, 0, 0, 1], np.int32)
CLASSES = 3

loss_of = jax.jit(expansion_loss, static_argnames="consistency_weight")


def draw(*shape, seed=0, dtype=np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def log_softmax(x):
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def test_labels_are_the_teachers_first_best():
    logits = np.array([[0, 2, 1], [3, 3, 1], [9, 9, 9], [-1, -2, -1]], np.float32)
    logits[2] = np.nan
    present = np.array([1, 1, 0, 1], bool)
    labels = hard_labels(jnp.asarray(logits), present=jnp.asarray(present))
    np.testing.assert_array_equal(labels, [1, 0, -1, 0])
    assert labels.dtype == jnp.int32


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 3, 2)])
def test_noise_is_relative_to_the_mean_size_of_all_present_rows(shape):
    x, noise = draw(*shape, dtype=np.float32), draw(*shape, seed=1, dtype=np.float32)
    expected = x[PRESENT] + 0.5 * np.abs(x[PRESENT]).mean() * noise[PRESENT]
    x[~PRESENT] = noise[~PRESENT] = np.nan
    add_noise = jax.jit(relative_noise)
    moved = add_noise(x, noise, scale=0.5, present=jnp.asarray(PRESENT))
    np.testing.assert_allclose(moved[PRESENT], expected, rtol=1e-5)
    np.testing.assert_array_equal(moved[~PRESENT], 0.0)

    nobody = add_noise(x, noise, scale=0.5, present=jnp.zeros(5, bool))
    np.testing.assert_array_equal(nobody, 0.0)
    half = jnp.asarray(x, jnp.bfloat16)
    assert add_noise(half, noise, scale=0.5, present=PRESENT).dtype == jnp.bfloat16


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_loss_equals_loops(soft):
    transformed, clean = draw(5, CLASSES), draw(5, CLASSES, seed=1)
    teacher = np.exp(log_softmax(draw(5, CLASSES, seed=2)))
    labels = teacher if soft else LABELS
    entropies, divergences, hits = [], [], []
    for i in np.flatnonzero(PRESENT):
        log_share, log_clean = log_softmax(transformed)[i], log_softmax(clean)[i]
        divergences.append((np.exp(log_clean) * (log_clean - log_share)).sum())
        target = teacher[i] if soft else np.eye(CLASSES)[LABELS[i]]
        if soft or LABELS[i] >= 0:
            entropies.append(-(target * log_share).sum())
            hits.append(target.argmax() == log_share.argmax())
    for filling in (np.nan, np.inf):
        pair = (np.where(PRESENT[:, None], x, filling) for x in (transformed, clean))
        transformed, clean = map(jnp.asarray, pair)
        loss, metrics = loss_of(
            transformed,
            jnp.asarray(labels),
            present=jnp.asarray(PRESENT),
            clean_logits=clean,
            consistency_weight=0.3,
        )
        np.testing.assert_allclose(loss, np.mean(entropies) + 0.3 * np.mean(divergences))
        np.testing.assert_allclose(metrics["consistency"], np.mean(divergences))
        np.testing.assert_allclose(metrics["accuracy"], np.mean(hits))
        assert int(metrics["num_rows"]) == len(hits)


def test_only_what_the_student_says_of_the_transformed_clips_has_a_gradient():
    logits = jnp.asarray(draw(5, CLASSES, dtype=np.float32))
    teacher = jax.nn.softmax(logits[::-1])

    def loss(transformed, clean, labels):
        return expansion_loss(
            transformed,
            labels,
            present=jnp.asarray(PRESENT),
            clean_logits=clean,
            consistency_weight=1.0,
        )[0]

    filled = jnp.where(PRESENT[:, None], logits, jnp.nan)
    transformed, clean, labels = jax.jit(jax.grad(loss, (0, 1, 2)))(filled, 2 * filled, teacher)
    np.testing.assert_array_equal(clean, 0.0)
    np.testing.assert_array_equal(labels, 0.0)
    np.testing.assert_array_equal(transformed[~PRESENT], 0.0)
    assert (np.abs(transformed[PRESENT]).max(axis=1) > 1e-3).all()


def test_degenerate_batches():
    logits, labels = jnp.asarray(draw(5, CLASSES, dtype=np.float32)), jnp.asarray(LABELS)
    for present, labels_of in (
        (jnp.zeros(5, bool), labels),
        (jnp.zeros(5, bool), jax.nn.softmax(logits)),
        (jnp.asarray(PRESENT), jnp.full(5, -1, jnp.int32)),
    ):
        assert loss_of(logits, labels_of, present=present)[0] == 0.0
    # A student that says the same of both is consistent.
    same = loss_of(
        logits, labels, present=jnp.asarray(PRESENT), clean_logits=logits, consistency_weight=1.0
    )
    assert same[1]["consistency"] == 0.0
    assert "consistency" not in loss_of(logits, labels, present=jnp.asarray(PRESENT))[1]
    with pytest.raises(ValueError, match="logits for the clips as they are"):
        expansion_loss(logits, labels, present=jnp.asarray(PRESENT), consistency_weight=1.0)


def test_bf16_is_computed_in_float32():
    logits = jnp.asarray(draw(5, CLASSES), jnp.bfloat16)
    options = {"present": jnp.asarray(PRESENT), "consistency_weight": 1.0}
    loss, _ = loss_of(logits, jnp.asarray(LABELS), clean_logits=2 * logits, **options)
    wide = logits.astype(jnp.float32)
    assert loss.dtype == jnp.float32
    expected, _ = loss_of(wide, jnp.asarray(LABELS), clean_logits=2 * wide, **options)
    np.testing.assert_array_equal(loss, expected)
