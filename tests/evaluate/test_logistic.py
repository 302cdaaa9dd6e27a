import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from avssl.evaluate import logistic
from avssl.evaluate.logistic import fit_logistic


def overlapping_classes(num_rows=240, size=8, num_classes=4, seed=0):
    """Correlated features of unequal scale, so that the problem is not too easy for L-BFGS.

    One size for all tests, the probe's too: they share a compilation.
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_classes, size))
    labels = rng.integers(0, num_classes, num_rows)
    features = centres[labels] + 2 * rng.normal(size=(num_rows, size))
    features = features @ rng.normal(size=(size, size)) / np.sqrt(size)
    return features, labels


def scikit_learn(features, labels, weight_decay):
    # Its own L-BFGS stops at 64 machine epsilons of the loss, before 1e-6 in the coefficients.
    reference = LogisticRegression(
        C=1 / (len(labels) * weight_decay), solver="newton-cholesky", tol=1e-12
    )
    return reference.fit(features, labels)


@pytest.mark.parametrize("weight_decay", [1e-1, 1e-3])
def test_coefficients_equal_scikit_learn(weight_decay, float64, monkeypatch):
    monkeypatch.setattr(logistic, "BLOCK", 128)
    features, labels = overlapping_classes()
    fitted = fit_logistic(
        features,
        labels,
        num_classes=4,
        weight_decay=weight_decay,
        tolerance=1e-10,
        max_steps=2000,
    )
    reference = scikit_learn(features, labels, weight_decay)
    assert fitted.largest_gradient <= 1e-10
    np.testing.assert_allclose(fitted.weights.T, reference.coef_, atol=1e-6)
    # Both biases sum to zero over the classes, as they started.
    np.testing.assert_allclose(fitted.bias, reference.intercept_, atol=1e-6)
    np.testing.assert_array_equal(fitted.predict(features), reference.predict(features))


def test_two_classes_decide_as_scikit_learn(float64):
    """There the reference has one weight vector, and halves the decay of a pair (w, -w) by it."""
    features, labels = overlapping_classes(num_classes=2)
    fitted = fit_logistic(
        features, labels, num_classes=2, weight_decay=0.02, tolerance=1e-10, max_steps=2000
    )
    reference = scikit_learn(features, labels, 0.01)
    difference = fitted.weights[:, 1] - fitted.weights[:, 0]
    np.testing.assert_allclose(difference, reference.coef_[0], atol=1e-6)
    np.testing.assert_array_equal(fitted.predict(features), reference.predict(features))


def test_float32_reaches_the_tolerance():
    features, labels = overlapping_classes()
    fitted = fit_logistic(
        features.astype(np.float32), labels, num_classes=4, weight_decay=1e-3, tolerance=1e-5
    )
    reference = scikit_learn(features, labels, 1e-3)
    assert fitted.largest_gradient <= 1e-5
    np.testing.assert_allclose(fitted.weights.T, reference.coef_, atol=5e-3)


def test_separable_classes_end():
    labels = np.arange(240) % 4
    features = np.eye(4, 8, dtype=np.float32)[labels]
    fitted = fit_logistic(features, labels, num_classes=4, weight_decay=1e-5)
    assert fitted.largest_gradient <= 1e-4
    np.testing.assert_array_equal(fitted.predict(features), labels)


def test_the_start_changes_the_steps_and_not_the_minimum(float64):
    features, labels = overlapping_classes()
    settings = {"num_classes": 4, "tolerance": 1e-10, "max_steps": 2000}
    strong = fit_logistic(features, labels, weight_decay=1e-1, **settings)
    cold = fit_logistic(features, labels, weight_decay=1e-2, **settings)
    warm = fit_logistic(features, labels, weight_decay=1e-2, start=strong, **settings)
    assert 0 < warm.num_steps < cold.num_steps
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-7)


def test_max_steps_is_kept_and_shown():
    features, labels = overlapping_classes()
    fitted = fit_logistic(
        features.astype(np.float32), labels, num_classes=4, weight_decay=1e-4, max_steps=3
    )
    assert fitted.num_steps == 3
    assert fitted.largest_gradient > 1e-4


def test_padding_takes_no_part(float64):
    """130 rows are filled up to 256, 260 to 384 in blocks of 128: the same rows, once and twice."""
    features, labels = overlapping_classes(num_rows=130)
    settings = {"num_classes": 4, "weight_decay": 0.01, "tolerance": 1e-11, "max_steps": 1000}
    once = fit_logistic(features, labels, **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logistic, "BLOCK", 128)
        twice = fit_logistic(np.tile(features, (2, 1)), np.tile(labels, 2), **settings)
    np.testing.assert_allclose(once.weights, twice.weights, atol=1e-9)


def test_same_numbers_again():
    features, labels = overlapping_classes()
    fits = [
        fit_logistic(features.astype(np.float32), labels, num_classes=4, weight_decay=1e-3)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(fits[0].weights, fits[1].weights)


def test_memory_at_a_hundred_thousand_rows():
    blocks, size, num_classes = 49, 512, 400
    shape = jax.ShapeDtypeStruct
    params = logistic._Params(
        shape((size, num_classes), np.float32), shape((num_classes,), np.float32)
    )
    lowered = logistic._minimise.lower(
        params,
        shape((blocks, logistic.BLOCK, size), np.float32),
        shape((blocks, logistic.BLOCK), np.int32),
        1e-3,
        1e-4,
        100,
    )
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 1.5e9
