"""Clustering: the labels of an objective's own heads beside k-means on the features."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from avssl.evaluate.clusters import clusters
from avssl.evaluate.rows import Row

CLASSES = np.repeat(np.arange(3), 8)


@dataclasses.dataclass
class Extracted:
    labels: np.ndarray
    embeddings: dict

    def where(self, kept):
        return Extracted(
            self.labels[kept], {name: rows[kept] for name, rows in self.embeddings.items()}
        )

    def of(self, name):
        return {"video": self.labels}


def objective(names):
    return SimpleNamespace(clusters=lambda outputs: dict.fromkeys(names, (CLASSES + 1) % 3))


def test_first_objective_with_labels_has_no_prefix():
    features = np.eye(3)[CLASSES] + np.random.default_rng(0).normal(0, 0.01, (24, 3))
    test = Extracted(CLASSES, {"video": features.astype(np.float32)})
    model = SimpleNamespace(
        objectives={"none": objective([]), "one": objective(["video"]), "two": objective(["audio"])}
    )
    scores = clusters(model, SimpleNamespace(test=test))
    assert {(score.features, score.metric) for score in scores if "nmi" in score.metric} == {
        ("video", "nmi"), ("video", "labels_nmi"), ("audio", "two/labels_nmi"),
    }  # fmt: skip
    assert all(score.value == pytest.approx(1) for score in scores)


@pytest.mark.parametrize("metric", ["ari", "labels_ari", "two/labels_ari"])
def test_agreement_beyond_chance_may_be_negative(metric):
    assert Row("clustering", "video", metric, -0.01, 0.0, 0.0, 9).value == -0.01
    with pytest.raises(ValueError, match="not a fraction"):
        Row("clustering", "video", metric.replace("ari", "nmi"), -0.01, 0.0, 0.0, 9)
