"""An objective's own classifier: which objectives have one, and classes of other numbers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.evaluate.classified import classified
from avssl.evaluate.sides import Sides
from avssl.objectives import build_objective


class Source:
    def __init__(self, names, labels):
        self.label_names, self._labels = names, np.array(labels)

    def labels(self):
        return self._labels


def scored(objectives, outputs, scored_on, trained_on=None):
    trained_on = trained_on or scored_on
    index = np.arange(len(scored_on.labels()))
    there = np.ones(len(index), bool)
    present = {"video": there, "audio": there}
    test: Any = SimpleNamespace(index=index, of=outputs.__getitem__, present=present)
    sides: Any = Sides({}, test, test, (scored_on, index), (trained_on, index), 0)
    reads = [SimpleNamespace(view=name) for name in present]
    views = {name: SimpleNamespace(modality=name) for name in present}
    model: Any = SimpleNamespace(objectives=objectives, reads=reads, views=views)
    found = classified(model, sides)
    return {(score.features, score.metric): (score.value, score.chance, score.n) for score in found}


def logits(*classes):
    return np.eye(3, dtype=np.float32)[list(classes)]


def test_each_modality_and_clips_without_a_label():
    outputs = {
        "supervised": {"video_logits": logits(0, 1, 1, 2), "audio_logits": logits(0, 1, 2, 2)},
        "distill": {"logits": logits(0, 0, 0, 0)},
    }
    objectives = {
        "supervised": build_objective("supervised", {}),
        "distill": build_objective("distill", {}),
    }
    found = scored(objectives, outputs, Source(("a", "b", "c"), [0, 1, 2, -1]))
    assert found["video", "top1"] == (pytest.approx(2 / 3), pytest.approx(1 / 3), 3)
    assert found["audio", "top1"][0] == 1.0
    assert found["video", "distill/top1"][0] == pytest.approx(1 / 3)


def test_classes_are_compared_by_name():
    """The test data number their classes otherwise, and have one that was never trained."""
    outputs = {"supervised": {key: logits(2, 0, 1) for key in ("video_logits", "audio_logits")}}
    trained, tested = Source(("a", "b", "c"), []), Source(("c", "a", "x"), [0, 1, 2])
    objectives = {"supervised": build_objective("supervised", {})}
    assert scored(objectives, outputs, tested, trained)["video", "top1"][0] == pytest.approx(2 / 3)


def test_a_classifier_of_anything_else_is_none():
    objectives = {
        "xid": build_objective("xid", {}),
        "distill": build_objective("distill", {"label_weight": 0.0}),
    }
    with pytest.raises(UsageError, match="no objective of this run classifies"):
        scored(objectives, {"xid": {}, "distill": {}}, Source(("a", "b"), [0, 1]))
