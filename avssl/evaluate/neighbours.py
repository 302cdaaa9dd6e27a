"""Retrieval within a modality: is a clip of the same class among the nearest?"""

import numpy as np
from jaxtyping import Bool, Float, Int

from avssl.evaluate.checks import finite_features, labelled, several_classes
from avssl.evaluate.knn import nearest
from avssl.evaluate.sides import Score, Sides
from avssl.train.model import Model

RANKS = (1, 5, 10, 20)


def neighbours(model: Model, sides: Sides) -> list[Score]:
    """R@1, R@5, R@10 and R@20 of each test clip among the other test clips, by each kind of embedding."""
    test = sides.test.where(sides.test.labels >= 0)
    by_chance = recall_by_chance(test.labels)
    return [
        Score.of_clips(f"{name}->{name}", f"r{rank}", found, by_chance[rank])
        for name, embeddings in test.embeddings.items()
        for rank, found in neighbour_of_class(embeddings, test.labels).items()
    ]


def neighbour_of_class(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"]
) -> dict[int, Bool[np.ndarray, "n"]]:
    """Whether each row has a row of their class among the `rank` nearest others, by cosine.

    As SeLaVi's retrieval (Asano et al. 2020, table 4) and the video retrieval of CCL (Chen et al. 2021,
    figure 1), whose protocol is not published: queries and gallery are the same clips here, each without
    itself.
    """
    features = finite_features(features, "test features")
    labels = labelled(features, labels, protocol="retrieval of classes", part="test")
    several_classes(labels, protocol="retrieval of classes")
    _, others = nearest_others(features, np.arange(len(labels)), max(RANKS))
    same = labels[others] == labels[:, None]
    return {rank: same[:, :rank].any(axis=1) for rank in RANKS}


def nearest_others(
    features: Float[np.ndarray, "n d"], rows: Int[np.ndarray, "m"], neighbours: int
) -> tuple[Float[np.ndarray, "m k"], Int[np.ndarray, "m k"]]:
    """Cosine and index of the rows nearest to some of the rows, each without itself, the nearest first."""
    cosines, indices = nearest(features, features[rows], neighbours + 1)
    own = indices == rows[:, None]
    # Where equal rows took its place, the last of them goes.
    own[~own.any(axis=1), -1] = True
    return cosines[~own].reshape(len(rows), -1), indices[~own].reshape(len(rows), -1)


def recall_by_chance(labels: Int[np.ndarray, "n"]) -> dict[int, float]:
    """The same of others in any order."""
    counts = np.bincount(labels)[labels] - 1
    total = len(labels) - 1
    found = {}
    for rank in RANKS:
        missed = np.ones(len(labels))
        for place in range(min(rank, total)):
            missed *= np.maximum(total - counts - place, 0) / (total - place)
        found[rank] = float(1 - missed.mean())
    return found
