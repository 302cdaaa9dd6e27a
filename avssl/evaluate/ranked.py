"""How well scores put the clips of a kind before the others, where each clip counts so many times.

`times` is [clips, columns]: a column of ones is the clips as they are, others are resamples of them
(`intervals.py`). Every function gives a number a column, NaN where there is no clip of the kind, or no other.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.sparse import csr_array

from avssl.evaluate.checks import finite_scores

Times = Num[np.ndarray, "n r"]


class Steps(NamedTuple):
    """What is found at each score that a clip of the kind has, from the best on; equal ones are one step."""

    right: Float[np.ndarray, "k r"]  # clips of the kind at that score
    above: Float[np.ndarray, "k r"]  # other clips with better ones
    upto: Float[np.ndarray, "k r"]  # other clips with that one or better ones
    others: Float[np.ndarray, "r"]  # all of them


class Ranked:
    """The clips in the order of their scores, those of the kind (`own`) and the others; sorted once."""

    def __init__(self, scores: Float[np.ndarray, "n"], own: Bool[np.ndarray, "n"]):
        values = np.unique(-scores[own])
        # Cell 2k + 1 holds what equals value k, and cell 2k what lies between it and the one before.
        cells = np.searchsorted(values, -scores) + np.searchsorted(values, -scores, "right")
        self.own, self.others = (cell_counts(kind, cells, len(values)) for kind in (own, ~own))

    def steps(self, times: Times) -> Steps:
        others = np.cumsum(self.others @ times, axis=0)
        return Steps((self.own @ times)[1::2], others[:-1:2], others[1::2], others[-1])


class RankedClasses:
    """Of each class the clips where it is known, ranked by their scores for it."""

    def __init__(
        self,
        scores: Float[np.ndarray, "n c"],
        tags: Bool[np.ndarray, "n c"],
        known: Bool[np.ndarray, "n c"],
    ):
        self.known = known.T
        self.ranked = [
            Ranked(finite_scores(own[clips]), has[clips])
            for own, has, clips in zip(scores.T, tags.T, self.known, strict=True)
        ]

    def steps(self, times: Times) -> list[Steps]:
        each = zip(self.ranked, self.known, strict=True)
        return [one.steps(times[clips]) for one, clips in each]


def cell_counts(
    kind: Bool[np.ndarray, "n"], cells: Int[np.ndarray, "n"], num_values: int
) -> csr_array:
    """Sums up, for each cell, how often the clips of this kind in it count."""
    rows = np.flatnonzero(kind)
    ones = np.ones(len(rows), np.float32)
    return csr_array((ones, (cells[rows], rows)), shape=(2 * num_values + 1, len(cells)))


def average_precisions(steps: Steps) -> Float[np.ndarray, "r"]:
    """The sum over scores of precision times what each adds to recall, without interpolation.

    Scores without any order give the share of the kind.
    """
    found = np.cumsum(steps.right, axis=0)
    precision = found / np.maximum(found + steps.upto, 1)
    return share((precision * steps.right).sum(axis=0), steps.right.sum(axis=0))


def average_precision(scores: Float[np.ndarray, "n"], own: Bool[np.ndarray, "n"]) -> float:
    """Of clips that count once each."""
    return float(average_precisions(Ranked(scores, own).steps(np.ones((len(own), 1))))[0])


def areas_under_curve(steps: Steps) -> Float[np.ndarray, "r"]:
    """Of the ROC: how likely a clip of the kind scores higher than another, ties counted half; chance is 0.5.

    By the rank statistic (Mann and Whitney 1947).
    """
    below = steps.others - (steps.above + steps.upto) / 2
    pairs = steps.right.sum(axis=0) * steps.others
    return share((steps.right * below).sum(axis=0), pairs)


def share(part: Float[np.ndarray, "r"], whole: Float[np.ndarray, "r"]) -> Float[np.ndarray, "r"]:
    """NaN of nothing."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def mean_of_known(of_classes: Float[np.ndarray, "c r"]) -> Float[np.ndarray, "r"]:
    """The mean over the classes that have a number."""
    known = ~np.isnan(of_classes)
    return share(np.where(known, of_classes, 0.0).sum(axis=0), known.sum(axis=0).astype(float))
