"""One class against the rest: scikit-learn's fit, the measures of VOC 2007, and what counts as neither."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from avssl.errors import UsageError
from avssl.evaluate.features import Extracted
from avssl.evaluate.linear_tags import eleven_points, linear_tags, one_against_rest
from avssl.evaluate.ranked import Ranked
from avssl.evaluate.sides import Sides

NAMES = ("bird", "cat", "dog")


def drawn(num: int, seed: int, width: int = 6):
    draws = np.random.default_rng(seed)
    features = draws.normal(size=(num, width)).astype(np.float32)
    return features, features[:, :3] + 0.2 * draws.normal(size=(num, 3)) > 0.6


def test_it_is_scikit_learns(float64):
    (train, tags), (test, _) = drawn(120, 0), drawn(50, 1)
    labels = tags.astype(int)
    labels[:20, 1] = -1
    weight_decay = 0.02
    train, test = (each.astype(np.float64) for each in (train, test))
    found = one_against_rest(train, labels, test, weight_decays=(weight_decay,), tolerance=1e-10)
    for column, own in enumerate(labels.T):
        known = own >= 0
        mean, deviation = train[known].mean(axis=0), train[known].std(axis=0)
        # Two logits that share the decay are one with half of it.
        fitted = LogisticRegression(C=2 / (known.sum() * weight_decay), tol=1e-10, max_iter=1000)
        fitted.fit((train[known] - mean) / deviation, own[known])
        expected = fitted.decision_function((test - mean) / deviation)
        np.testing.assert_allclose(found[:, column], expected, atol=1e-6)


def eleven(scores, own):
    return eleven_points(Ranked(scores, own).steps(np.ones((len(own), 1))))[0]


def test_eleven_points_by_hand():
    own = np.array([1, 0, 1, 0, 0, 1], bool)
    scores = -np.arange(6.0)
    # Recalls 1/3, 2/3, 1 have precisions 1, 2/3, 1/2: four, three and four of the eleven points.
    assert eleven(scores, own) == pytest.approx((4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11)
    assert eleven(own.astype(float), own) == 1.0
    assert eleven(np.zeros(6), own) == pytest.approx(0.5)
    ten = np.arange(20) < 10  # recalls of tenths, which floating point must not miss
    assert eleven(np.linspace(1, 0, 20), ten) == 1.0


def test_a_resample_without_the_class_has_no_eleven_points():
    own = np.array([True, False, False])
    times = np.array([[1, 0], [1, 2], [1, 1]], np.float32)
    one, none = eleven_points(Ranked(np.array([0.3, 0.2, 0.1]), own).steps(times))
    assert one == 1.0
    assert np.isnan(none)


class Tagged:
    label_names = NAMES

    def __init__(self, tags, hidden=(), names=NAMES):
        self.tags, self.hidden, self.spec, self.label_names = tags, hidden, "tagged", names

    def labels(self):
        return np.full(len(self.tags), -1, np.int32)

    def truth(self, index):
        has = [name for name, own in zip(self.label_names, self.tags[index], strict=True) if own]
        return {"classes": has, "ignored": [name for row, name in self.hidden if row == index]}


def measured(train, test, train_features, test_features):
    def extracted(features):
        num = len(features)
        return Extracted(
            {"video": features}, {}, np.full(num, -1), np.arange(num), {"video": np.ones(num, bool)},
            {}, 0,
        )  # fmt: skip

    parts: Any = (train, np.arange(len(train_features))), (test, np.arange(len(test_features)))
    sides = Sides(
        {}, extracted(train_features), extracted(test_features), parts[1], parts[0], 0,
        fitted=parts[0],
    )  # fmt: skip
    model: Any = SimpleNamespace(objectives={})
    return {score.metric: score for score in linear_tags(model, sides)}


def test_the_protocol_leaves_out_what_is_ignored():
    (train, tags), (test, true) = drawn(150, 0), drawn(80, 1)
    found = measured(Tagged(tags), Tagged(true), train, test)
    assert found["map"].value > 0.75 > 2 * found["map"].chance
    assert found["map"].n == 80
    for metric in ("map", "map_11_point"):
        low, high = found[metric].interval
        assert low < found[metric].value <= high <= 1
        assert high - low < 0.3
    assert found["map"].chance == pytest.approx(true.mean(axis=0).mean())
    assert found["map_11_point"].value > 0.7
    # Labels that are wrong wherever they are ignored move nothing.
    rows = np.arange(0, 150, 3)
    wrong = tags.copy()
    wrong[rows, 1] ^= True
    hidden = [(row, "cat") for row in rows.tolist()]
    one, other = (
        measured(Tagged(each, hidden), Tagged(true, hidden[:20]), train, test)
        for each in (tags, wrong)
    )
    assert one["map"].value == other["map"].value


def test_classes_are_matched_by_name_and_others_left_out():
    (train, tags), (test, true) = drawn(150, 0), drawn(80, 1)
    turned = Tagged(true[:, [2, 0]], names=("dog", "bird"))
    found = measured(Tagged(tags), turned, train, test)
    assert found["map"].value > 0.75
    with pytest.raises(UsageError, match="no class of tagged has clips with it"):
        measured(Tagged(tags), Tagged(true[:, :1], names=("cow",)), train, test)
