"""Bootstrap intervals: how far a number would move with other test clips of the same kind.

Efron's percentile interval at 95 %, of 1000 resamples of the scored clips. What training clips, seeds or other
runs would do to the number is not in it.

Of numbers that are no means (`intervals_of`) it is moved so that the mean of resamples is the number itself.
A clip that is twice in a resample agrees with itself: precisions and mutual information of resamples are too
high, and least costs too low.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int, Num

from avssl.evaluate.rows import bounds_of

NUM_RESAMPLES = 1000
# Where one is dear there are fewer, so that all take a second or two: so many elements in all, but not fewer
# than this, with which the ends vary by a tenth of the width.
MOST_ELEMENTS = 3 * 10**7
LEAST_RESAMPLES = 100
OUTSIDE = (2.5, 97.5)  # percentiles
# Resamples times distinct values that are counted at once.
COUNTS_AT_ONCE = 2**22
LEAST_AT_ONCE = 16

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


def intervals_of(
    statistics: Callable[[Float[np.ndarray, "n r"]], Mapping[str, Float[np.ndarray, "r"]]],
    values: Mapping[str, float],
    num_clips: int,
    *,
    num_elements: int = 0,
) -> dict[str, Interval]:
    """Of several numbers by metric, all of the same resamples of clips, or of other independent things.

    statistics: of how often each clip counts in each resample: one number a resample; NaN is left out.
    values: the numbers of the clips as they are.
    num_elements: how many numbers are touched for one resample, by default as many as there are clips.
    """
    generator = np.random.default_rng(0)
    work = max(num_elements, num_clips)
    resamples = num_resamples(work)
    at_once = max(LEAST_AT_ONCE, COUNTS_AT_ONCE // work)
    parts: dict[str, list[np.ndarray]] = {metric: [] for metric in values}
    for first in range(0, resamples, at_once):
        found = statistics(draw_times(generator, num_clips, min(at_once, resamples - first)))
        for metric, part in parts.items():
            part.append(found[metric])
    moved = {
        metric: moved_interval(np.concatenate(parts[metric]), values[metric]) for metric in values
    }
    return {
        metric: tuple(np.clip(ends, *bounds_of(metric)).tolist())
        for metric, ends in moved.items()
        if ends is not None
    }


def num_resamples(num_elements: int) -> int:
    return int(np.clip(MOST_ELEMENTS // num_elements, LEAST_RESAMPLES, NUM_RESAMPLES))


def draw_times(
    generator: np.random.Generator, num_clips: int, num_resamples: int
) -> Float[np.ndarray, "n r"]:
    """How often each clip is drawn in each resample, of as many draws as there are clips.

    As float32, which counts exactly up to 16 million, so that matrices multiply fast.
    """
    drawn = generator.integers(num_clips, size=(num_clips, num_resamples))
    cells = drawn * num_resamples + np.arange(num_resamples)[None]
    size = num_clips * num_resamples
    counts = np.bincount(cells.ravel(), minlength=size).astype(np.float32)
    return counts.reshape(num_clips, num_resamples)


def moved_interval(found: Float[np.ndarray, "r"], value: float) -> Interval | None:
    """None where hardly a resample has a number."""
    known = found[~np.isnan(found)]
    if len(known) < LEAST_RESAMPLES / 2:
        return None
    if known.min() == known.max():
        return value, value
    low, high = np.percentile(known, OUTSIDE) + (value - known.mean())
    return float(low), float(high)
