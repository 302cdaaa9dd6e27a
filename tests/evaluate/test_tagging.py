"""Tags: average precision against its definition, F1 by counting, and which columns are which classes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avssl.data.record import Record
from avssl.errors import UsageError
from avssl.evaluate.sides import Sides
from avssl.evaluate.tagging import average_precision, tag_scores, tagging

NAMES = ("bus", "car", "dog", "train")
TAGS = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], bool)


class Clips:
    spec = "clips"
    label_names = NAMES

    def key(self, index):
        return f"clip{index}"

    def labels(self):
        return np.full(len(TAGS), -1, np.int32)

    def __getitem__(self, index):
        names = [name for name, has in zip(NAMES, TAGS[index], strict=True) if has]
        return Record(self.key(index), index, b"", truth={"classes": names})


def measured(logits, trained_names):
    objective = SimpleNamespace(tag_logits=lambda outputs: outputs)
    silent = SimpleNamespace(tag_logits=lambda outputs: {})
    test: Any = SimpleNamespace(index=np.arange(len(TAGS)), of=lambda name: {"audio": logits})
    trained_on: Any = SimpleNamespace(label_names=trained_names), None
    scored: Any = Clips(), np.arange(len(TAGS))
    sides = Sides({}, test, test, scored, trained_on, 0)
    model: Any = SimpleNamespace(objectives={"none": silent, "one": objective, "two": objective})
    return {score.metric: score for score in tagging(model, sides)}


def test_average_precision():
    rng = np.random.default_rng(0)
    scores, own = rng.normal(size=40), rng.random(40) < 0.3
    order = np.argsort(-scores)
    hits = np.flatnonzero(own[order])
    expected = np.mean([(k + 1) / (place + 1) for k, place in enumerate(hits)])
    assert average_precision(scores, own) == pytest.approx(expected)
    assert average_precision(np.zeros(40), own) == pytest.approx(own.mean())
    assert average_precision(own.astype(float), own) == 1.0
    # The tied pair is one step, whichever of it is the right one.
    for right in ([1, 1, 0, 0], [1, 0, 1, 0]):
        assert average_precision(
            np.array([3.0, 2.0, 2.0, 1.0]), np.array(right, bool)
        ) == pytest.approx((1 + 2 / 3) / 2)


def test_f1_by_counting():
    logits = np.where(TAGS, 1.0, -1.0)[:, [0, 1, 3]]
    logits[0, 0], logits[1, 1] = -1.0, 0.0  # one is missed, and one of exactly 0.5 is wrong
    found = tag_scores(logits, TAGS[:, [0, 1, 3]])
    assert found["micro_f1_at_0.5"] == pytest.approx(2 * 6 / (2 * 6 + 2))
    assert found["macro_f1_at_0.5"] == pytest.approx(np.mean([2 / 3, 4 / 5, 1.0]))


def test_columns_are_the_classes_that_were_trained_on():
    # Another order, without `bus`, and with a class that no clip here has.
    logits = np.where(TAGS[:, [3, 1, 2, 2]], 2.0, -2.0)
    found = measured(logits, ("train", "car", "dog", "cat"))
    assert found["map"].value == 1.0
    assert found["micro_f1_at_0.5"].value == 1.0
    assert found["map"].chance == pytest.approx(np.mean([2 / 5, 3 / 5]))
    # Every tag on every clip: 5 of 10 are right.
    assert found["micro_f1_at_0.5"].chance == pytest.approx(2 * 5 / 15)
    assert found["two/map"].value == 1.0
    assert all(score.n == len(TAGS) for score in found.values())


def test_what_cannot_be_scored():
    with pytest.raises(UsageError, match="has a class that this run was trained on"):
        measured(np.zeros((5, 1)), ("cat",))
    model: Any = SimpleNamespace(
        objectives={"none": SimpleNamespace(tag_logits=lambda outputs: {})}
    )
    nothing: Any = SimpleNamespace(of=lambda name: {})
    sides = Sides({}, nothing, nothing, nothing, nothing, 0)
    with pytest.raises(UsageError, match="no objective of this run tags clips"):
        tagging(model, sides)
