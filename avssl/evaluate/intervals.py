"""Bootstrap intervals: how far a number would move with other test clips of the same kind.

Efron's percentile interval at 95 %, of 1000 resamples of the scored clips. What training clips, seeds or other
runs would do to the number is not in it.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Num

NUM_RESAMPLES = 1000
OUTSIDE = (2.5, 97.5)  # percentiles
# Resamples times distinct values that are counted at once.
COUNTS_AT_ONCE = 2**22

Interval = tuple[float, float]


def interval_of_mean(values: Num[np.ndarray, "n"]) -> Interval:
    return percentiles(values, lambda distinct, counts: counts @ distinct / counts[0].sum())


def interval_of_median(values: Num[np.ndarray, "n"]) -> Interval:
    return percentiles(values, medians)


def medians(
    distinct: Float[np.ndarray, "k"], counts: Int[np.ndarray, "r k"]
) -> Float[np.ndarray, "r"]:
    """Of values that occur so often, in each row of counts."""
    upto, total = np.cumsum(counts, axis=1), counts[0].sum()
    lower, upper = ((upto > place).argmax(axis=1) for place in ((total - 1) // 2, total // 2))
    return (distinct[lower] + distinct[upper]) / 2


def percentiles(
    values: Num[np.ndarray, "n"],
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Interval:
    """`statistic` of (distinct values, how often each occurs in each resample): one number a resample.

    A resample is drawn as how often it takes each distinct value, which has the same distribution.
    """
    distinct, often = np.unique(np.asarray(values, np.float64), return_counts=True)
    generator = np.random.default_rng(0)
    at_once = max(1, COUNTS_AT_ONCE // len(distinct))
    found = []
    for first in range(0, NUM_RESAMPLES, at_once):
        size = min(at_once, NUM_RESAMPLES - first)
        counts = generator.multinomial(len(values), often / len(values), size)
        found.append(statistic(distinct, counts))
    low, high = np.percentile(np.concatenate(found), OUTSIDE)
    return float(low), float(high)
