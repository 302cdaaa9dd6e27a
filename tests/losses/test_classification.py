"""Cross-entropies of classes and tags against scikit-learn and optax; rows and tags that are left out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, log_loss

from avssl.losses.classification import (
    class_shares,
    classification_loss,
    tag_shares,
    tagging_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
ROWS, CLASSES = 12, 5


def logits_of(seed=0):
    return np.random.default_rng(seed).standard_normal((ROWS, CLASSES)).astype(np.float32)


LABELS = np.random.default_rng(1).integers(0, CLASSES, ROWS).astype(np.int32)
PRESENT = np.random.default_rng(2).random(ROWS) < 0.7
TAGS = (np.random.default_rng(3).random((ROWS, CLASSES)) < 0.4).astype(np.int8)
KNOWN = np.random.default_rng(4).random((ROWS, CLASSES)) < 0.7
ALL = jnp.ones(ROWS, bool)


def shares_of(smoothing=0.0):
    return class_shares(
        jnp.asarray(LABELS), CLASSES, dtype=jnp.dtype("float32"), smoothing=smoothing
    )


def test_classes_equal_scikit_learn():
    logits = logits_of()
    loss, metrics = jax.jit(classification_loss)(
        jnp.asarray(logits), shares_of(), present=jnp.asarray(PRESENT)
    )
    probabilities = softmax(logits.astype(np.float64), axis=1)[PRESENT]
    expected = log_loss(LABELS[PRESENT], probabilities, labels=range(CLASSES))
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    right = accuracy_score(LABELS[PRESENT], probabilities.argmax(axis=1))
    assert float(metrics["accuracy"]) == pytest.approx(right)
    assert int(metrics["num_rows"]) == PRESENT.sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_smoothing_equals_optax(smoothing):
    logits = jnp.asarray(logits_of())
    smoothed = optax.smooth_labels(jax.nn.one_hot(LABELS, CLASSES), smoothing)
    np.testing.assert_allclose(shares_of(smoothing), smoothed, rtol=1e-6)
    expected = optax.softmax_cross_entropy(logits, smoothed).mean()
    loss = classification_loss(logits, shares_of(smoothing), present=ALL)[0]
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_tags_equal_scikit_learn_and_optax():
    logits = logits_of()
    shares = tag_shares(jnp.asarray(TAGS), dtype=jnp.dtype("float32"))
    everywhere = jnp.ones((ROWS, CLASSES), bool)
    loss, metrics = jax.jit(tagging_loss)(jnp.asarray(logits), shares, known=everywhere)
    found = expit(logits.astype(np.float64))
    # One class at a time is a question of two classes.
    expected = np.mean([log_loss(TAGS[:, c], found[:, c]) for c in range(CLASSES)])
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(metrics["tag_accuracy"]) == pytest.approx(np.mean((found > 0.5) == TAGS))
    smooth = tag_shares(jnp.asarray(TAGS), dtype=jnp.dtype("float32"), smoothing=0.2)
    np.testing.assert_allclose(np.unique(smooth), [0.1, 0.9], rtol=1e-6)
    loss = tagging_loss(jnp.asarray(logits), smooth, known=everywhere)[0]
    expected = optax.sigmoid_binary_cross_entropy(jnp.asarray(logits), smooth).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_the_mean_is_over_known_tags():
    logits = logits_of()
    unknown = np.where(KNOWN, TAGS, -1).astype(np.int8)
    shares = tag_shares(jnp.asarray(unknown), dtype=jnp.dtype("float32"))
    loss, metrics = tagging_loss(jnp.asarray(logits), shares, known=jnp.asarray(KNOWN))
    found = expit(logits.astype(np.float64))[KNOWN]
    assert float(loss) == pytest.approx(log_loss(TAGS[KNOWN], found), rel=1e-6)
    assert int(metrics["num_rows"]) == KNOWN.any(axis=1).sum()


@pytest.mark.parametrize("filling", [np.nan, np.inf, -1e30])
def test_what_does_not_count_may_hold_anything(filling):
    def classes(logits):
        return classification_loss(logits, shares_of(), present=jnp.asarray(PRESENT))[0]

    def tags(logits):
        shares = tag_shares(jnp.asarray(TAGS), dtype=jnp.dtype("float32"))
        return tagging_loss(logits, shares, known=jnp.asarray(KNOWN))[0]

    for loss, counted in ((classes, np.broadcast_to(PRESENT[:, None], KNOWN.shape)), (tags, KNOWN)):
        filled = np.where(counted, logits_of(), np.float32(filling))
        value, gradient = jax.value_and_grad(loss)(jnp.asarray(filled))
        np.testing.assert_allclose(value, loss(jnp.asarray(logits_of())), rtol=1e-6)
        np.testing.assert_array_equal(gradient[~counted], 0.0)
        assert np.isfinite(gradient).all()


def test_nothing_to_learn_is_zero():
    logits, nobody = jnp.asarray(logits_of()), jnp.zeros(ROWS, bool)
    loss, metrics = classification_loss(logits, shares_of(), present=nobody)
    assert (float(loss), float(metrics["accuracy"])) == (0.0, 0.0)
    unknown = jnp.zeros((ROWS, CLASSES), bool)
    loss, metrics = tagging_loss(logits, jnp.zeros((ROWS, CLASSES)), known=unknown)
    assert (float(loss), float(metrics["num_rows"])) == (0.0, 0.0)


def test_equal_logits_are_not_right():
    zeros = jnp.zeros((ROWS, CLASSES))
    assert classification_loss(zeros, shares_of(), present=ALL)[1]["accuracy"] == 0.0
