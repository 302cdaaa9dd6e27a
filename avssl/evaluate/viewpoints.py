"""Spatial alignment: which of a clip's viewing directions does each sound belong to?"""

import numpy as np

from avssl.errors import UsageError
from avssl.evaluate.sides import Score, Sides
from avssl.train.model import Model


def viewpoints(model: Model, sides: Sides) -> list[Score]:
    """Top-1 among the viewpoints of the same clip, both directions; chance 1 / viewpoints.

    Each score that an objective has between viewpoints gives a metric of its own.
    """
    scores = []
    for name, objective in model.objectives.items():
        for kind, matrix in objective.viewpoint_scores(sides.test.of(name)).items():
            likeness = np.asarray(matrix)
            num_viewpoints = likeness.shape[1]
            for direction, each in (
                ("video->audio", likeness), ("audio->video", likeness.swapaxes(1, 2)),
            ):  # fmt: skip
                right = top1(each)
                scores.append(Score.of_clips(direction, f"{kind}_top1", right, 1 / num_viewpoints))
    if not scores:
        raise UsageError("no objective of this run compares viewpoints, as avsa does")
    return scores


def top1(likeness: np.ndarray) -> np.ndarray:
    """[clips, query, candidate]: of each clip the share of queries whose own candidate is the best; ties in
    equal parts."""
    best = likeness == likeness.max(axis=2, keepdims=True)
    own = np.diagonal(best, axis1=1, axis2=2)
    return (own / best.sum(axis=2)).mean(axis=1)
