"""How well clusters agree with classes: k-means on frozen features, and an objective's own labels."""

import numpy as np

from avssl.evaluate.clustering import (
    cluster_features,
    clustering,
    clustering_chance,
    clustering_intervals,
)
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.train.model import Model


def clusters(model: Model, sides: Sides) -> list[Score]:
    """On the labelled test clips; k-means with as many clusters as classes, without looking at any.

    All numbers of `clustering`; chance is what shuffled clusters give. `labels_nmi` and so on: of the labels
    that the heads of an objective give, `OBJECTIVE/labels_nmi` of every further one.
    """
    test = sides.test.where(sides.test.labels >= 0)
    num_classes = len(np.unique(test.labels))
    scores = []
    for modality, embeddings in test.embeddings.items():
        scores += agreement(modality, "", test.labels, cluster_features(embeddings, num_classes))
    labelled = False
    for name, objective in model.objectives.items():
        prefix = f"{name}/labels_" if labelled else "labels_"
        for modality, found in objective.clusters(test.of(name)).items():
            scores += agreement(modality, prefix, test.labels, np.asarray(found))
            labelled = True
    return scores


def agreement(features: str, prefix: str, labels: np.ndarray, found: np.ndarray) -> list[Score]:
    values, chance = clustering(labels, found), clustering_chance(labels, found)
    intervals = clustering_intervals(labels, found, values)
    return scores_of(features, prefix, values, chance, len(labels), intervals)
