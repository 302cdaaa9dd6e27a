"""How well clusters agree with classes: k-means on frozen features, and an objective's own labels."""

import numpy as np

from avssl.evaluate.clustering import (
    cluster_features,
    clustering,
    clustering_chance,
    clustering_intervals,
    expected_of,
)
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.train.model import Model


def clusters(model: Model, sides: Sides) -> list[Score]:
    """On the labelled test clips; k-means with as many clusters as classes, without looking at any.

    All numbers of `clustering`; chance is what shuffled clusters give. `labels_nmi` and so on: of the labels
    that the heads of an objective give, `OBJECTIVE/labels_nmi` of every further one.
    """
    test = sides.test.where(sides.test.labels >= 0)
    num_classes, with_intervals = len(np.unique(test.labels)), sides.with_intervals
    scores = []
    for modality, embeddings in test.embeddings.items():
        found = cluster_features(embeddings, num_classes)
        scores += agreement(modality, "", test.labels, found, with_intervals)
    labelled = False
    for name, objective in model.objectives.items():
        prefix = f"{name}/labels_" if labelled else "labels_"
        for modality, found in objective.clusters(test.of(name)).items():
            own = np.asarray(found)
            scores += agreement(modality, prefix, test.labels, own, with_intervals)
            labelled = True
    return scores


def agreement(
    features: str, prefix: str, labels: np.ndarray, found: np.ndarray, with_intervals: bool
) -> list[Score]:
    expected = expected_of(labels, found)
    values = clustering(labels, found, expected)
    chance = clustering_chance(labels, found, expected)
    intervals = clustering_intervals(labels, found, values, expected) if with_intervals else {}
    return scores_of(features, prefix, values, chance, len(labels), intervals)
