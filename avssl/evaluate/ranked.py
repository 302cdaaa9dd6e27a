"""How well scores put the clips of a kind before the others, where each clip counts so many times.

`times` is [clips, columns]: a column of ones is the clips as they are, others are resamples of them
(`intervals.py`). Every function gives a number a column, NaN where there is no clip of the kind, or no other.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.sparse import csr_array

Times = Num[np.ndarray, "n r"]


class Steps(NamedTuple):
    """What is found at each score that a clip of the kind has, from the best on; equal ones are one step."""

    right: Float[np.ndarray, "k r"]  # clips of the kind at that score
    above: Float[np.ndarray, "k r"]  # other clips with better ones
    upto: Float[np.ndarray, "k r"]  # other clips with that one or better ones
    others: Float[np.ndarray, "r"]  # all of them


def steps_of(scores: Float[np.ndarray, "n"], own: Bool[np.ndarray, "n"], times: Times) -> Steps:
    values = np.unique(-scores[own])
    # Cell 2k + 1 holds what equals value k, and cell 2k what lies between it and the one before.
    cells = sum(np.searchsorted(values, -scores, side) for side in ("left", "right"))

    def counted(kind: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(kind)
        shape = (2 * len(values) + 1, len(scores))
        return csr_array((np.ones(len(rows)), (cells[rows], rows)), shape=shape) @ times

    others = np.cumsum(counted(~own), axis=0)
    return Steps(counted(own)[1::2], others[:-1:2], others[1::2], others[-1])


def average_precisions(steps: Steps) -> Float[np.ndarray, "r"]:
    """The sum over scores of precision times what each adds to recall, without interpolation.

    Scores without any order give the share of the kind.
    """
    found = np.cumsum(steps.right, axis=0)
    precision = found / np.maximum(found + steps.upto, 1)
    return share((precision * steps.right).sum(axis=0), steps.right.sum(axis=0))


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
