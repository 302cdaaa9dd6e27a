"""Probes on a handful of clips of each class."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from avssl.errors import UsageError
from avssl.evaluate.few_shot import WEIGHT_DECAY, drawn_rows, few_shot_hits
from avssl.evaluate.linear import Standardisation


def clips(num_per_class, seed, noise=1.0):
    """Three classes around the corners of a triangle."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), num_per_class)
    centres = np.eye(3, 6)[labels] * 2
    return (centres + generator.normal(0, noise, centres.shape)).astype(np.float32), labels


def test_so_many_of_each_class():
    labels = np.array([2, 0, 0, 0, 2, 2, 2, 5])
    rows = drawn_rows(labels, 2, np.random.default_rng(0))
    assert np.unique(labels[rows], return_counts=True)[1].tolist() == [2, 2, 1]
    others = drawn_rows(labels, 2, np.random.default_rng(3))
    assert rows.tolist() != others.tolist()


def test_it_is_the_mean_of_logistic_regressions():
    train, train_labels = clips(30, 0)
    test, test_labels = clips(50, 1)
    expected = []
    for draw in range(4):
        rows = drawn_rows(train_labels, 5, np.random.default_rng([7, 5, draw]))
        standardise = Standardisation.of(train[rows])
        model = LogisticRegression(C=1 / (len(rows) * WEIGHT_DECAY), tol=1e-8, max_iter=2000)
        model.fit(standardise(train[rows]), train_labels[rows])
        expected.append(np.mean(model.predict(standardise(test)) == test_labels))
    found = few_shot_hits(
        train, train_labels, test, test_labels, shots=5, num_draws=4, seed=7
    )  # fmt: skip
    # A clip on the border may fall to either side: one of 150 in one of four draws.
    assert found.shape == (150,)
    assert found.mean() == pytest.approx(np.mean(expected), abs=1 / 150 / 4 + 1e-9)


def test_more_clips_tell_more():
    train, train_labels = clips(100, 2, noise=2.0)
    test, test_labels = clips(200, 3, noise=2.0)
    one, ten = (
        few_shot_hits(train, train_labels, test, test_labels, shots=shots).mean()
        for shots in (1, 10)
    )
    assert 1 / 3 < one < ten - 0.05


def test_one_class_is_refused():
    train, labels = clips(5, 0)
    with pytest.raises(UsageError, match="few-shot"):
        few_shot_hits(train[:5], labels[:5], train, labels, shots=1)
