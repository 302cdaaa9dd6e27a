"""Clustering: the labels of an objective's own heads beside k-means on the features."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from avssl.evaluate.clusters import clusters
from avssl.evaluate.rows import Row

# The last clip has no class.
CLASSES = np.append(np.repeat(np.arange(3), 8), -1)
# By objective, by modality: its own names of the classes, and two classes under one name.
LABELS = {
    "none": {},
    "one": {"video": (CLASSES + 1) % 3},
    "two": {"audio": np.minimum(CLASSES, 1)},
}


@dataclasses.dataclass
class Extracted:
    labels: np.ndarray
    embeddings: dict
    outputs: dict

    def where(self, kept):
        def rows(arrays):
            return {name: array[kept] for name, array in arrays.items()}

        outputs = {name: rows(arrays) for name, arrays in self.outputs.items()}
        return Extracted(self.labels[kept], rows(self.embeddings), outputs)

    def of(self, name):
        return self.outputs[name]


def test_each_objective_names_its_own_clusters_and_the_first_has_no_prefix():
    features = np.eye(3)[CLASSES] + np.random.default_rng(0).normal(0, 0.01, (25, 3))
    test = Extracted(CLASSES, {"video": features.astype(np.float32)}, LABELS)
    objective = SimpleNamespace(clusters=dict)
    model = SimpleNamespace(objectives=dict.fromkeys(LABELS, objective))
    scores = clusters(model, SimpleNamespace(test=test, with_intervals=True))
    found = {
        (score.features, score.metric): score.value
        for score in scores
        if score.metric.endswith("accuracy")
    }
    assert found == pytest.approx(
        {
            ("video", "accuracy"): 1.0,
            ("video", "labels_accuracy"): 1.0,
            ("audio", "two/labels_accuracy"): 2 / 3,
        }
    )
    assert all(score.n == 24 and score.interval for score in scores)
    without = clusters(model, SimpleNamespace(test=test, with_intervals=False))
    assert without == [dataclasses.replace(score, interval=None) for score in scores]
    for score in scores:
        Row("clustering", score.features, score.metric, score.value, 0.0, score.chance, score.n)
    names = {score.metric for score in scores if score.features == "video"}
    assert names >= {"ami", "labels_ami", "labels_mean_entropy", "labels_mean_max_purity", "purity"}


@pytest.mark.parametrize("metric", ["ari", "labels_ari", "two/labels_ari"])
def test_agreement_beyond_chance_may_be_negative(metric):
    assert Row("clustering", "video", metric, -0.01, 0.0, 0.0, 9).value == -0.01
    with pytest.raises(ValueError, match="not from 0"):
        Row("clustering", "video", metric.replace("ari", "nmi"), -0.01, 0.0, 0.0, 9)
