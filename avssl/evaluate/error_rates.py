"""Verification of identity: how often scores of pairs accept a stranger or refuse the same person."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Num

from avssl.evaluate.intervals import Interval, intervals_of
from avssl.evaluate.two_way import scores_of_both_kinds


def equal_error_rate(scores: Float[np.ndarray, "n"], same: Bool[np.ndarray, "n"]) -> float:
    """The rate at which false acceptances and false rejections are equally frequent; chance is 0.5.

    A pair is accepted where its score reaches a threshold. The operating points of all thresholds,
    those that accept nothing and everything among them, are joined by straight lines, and the rate
    is where the two frequencies cross on them: linear interpolation between neighbours. Pairs with
    equal scores are one step, so that a collapsed encoder, for which everything ties, is at 0.5.
    """
    return float(equal_rates(*operating_points(scores, same))[0])


def equal_rates(
    false_accepts: Float[np.ndarray, "t r"], false_rejects: Float[np.ndarray, "t r"]
) -> Float[np.ndarray, "r"]:
    gap = false_accepts - false_rejects  # from -1 to 1, and never falls
    after = np.argmax(gap >= 0, axis=0)
    columns = np.arange(gap.shape[1])
    gap_before, gap_after = gap[after - 1, columns], gap[after, columns]
    before = false_accepts[after - 1, columns]
    share = -gap_before / (gap_after - gap_before)
    return before + share * (false_accepts[after, columns] - before)


def minimum_detection_cost(
    scores: Float[np.ndarray, "n"],
    same: Bool[np.ndarray, "n"],
    *,
    target_share: float = 0.01,
    miss_cost: float = 1.0,
    false_accept_cost: float = 1.0,
) -> float:
    """NIST's detection cost at the best threshold; 1 is what refusing or accepting everything costs.

    min over thresholds of miss_cost p P(miss) + false_accept_cost (1 - p) P(false acceptance), over
    min(miss_cost p, false_accept_cost (1 - p)), with p = `target_share` of pairs assumed to be of
    one person: 0.01 and costs of 1, as usual on VoxCeleb. Thresholds are those of
    `equal_error_rate`, without interpolation.
    """
    if not 0 < target_share < 1 or min(miss_cost, false_accept_cost) <= 0:
        raise ValueError(
            "the detection cost needs a target_share between 0 and 1 and costs above 0, not "
            f"{target_share}, {miss_cost} and {false_accept_cost}"
        )
    costs = (target_share, miss_cost, false_accept_cost)
    return float(least_costs(*operating_points(scores, same), *costs)[0])


def least_costs(
    false_accepts: Float[np.ndarray, "t r"],
    misses: Float[np.ndarray, "t r"],
    target_share: float = 0.01,
    miss_cost: float = 1.0,
    false_accept_cost: float = 1.0,
) -> Float[np.ndarray, "r"]:
    of_misses, of_accepts = miss_cost * target_share, false_accept_cost * (1 - target_share)
    cost = of_misses * misses + of_accepts * false_accepts
    return cost.min(axis=0) / min(of_misses, of_accepts)


def error_intervals(
    scores: Float[np.ndarray, "n"], same: Bool[np.ndarray, "n"], values: Mapping[str, float]
) -> dict[str, Interval]:
    """Of `eer` and `min_dcf`.

    Pairs are resampled as if they were independent, though they share clips: with few clips in many pairs the
    intervals are too narrow. The least cost hangs on the few strangers that score highest: of 400 pairs its
    interval held the mean over other draws in 85 of 100 cases.
    """
    points = OperatingPoints(scores, same)

    def statistics(times: np.ndarray) -> dict[str, np.ndarray]:
        rates = points(times)
        return {"eer": equal_rates(*rates), "min_dcf": least_costs(*rates)}

    return intervals_of(statistics, values, len(same))


def operating_points(
    scores: Float[np.ndarray, "n"], same: Bool[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "t 1"], Float[np.ndarray, "t 1"]]:
    """The operating points where each pair counts once."""
    return OperatingPoints(scores, same)(np.ones((len(scores), 1)))


class OperatingPoints:
    """Frequencies of false acceptance and of false rejection at each threshold, from the highest.

    The thresholds are infinity, which accepts nothing, and every score that occurs. Of pairs that count so many
    times, each column by itself: NaN where those of one kind are not there at all.
    """

    def __init__(self, scores: Float[np.ndarray, "n"], same: Bool[np.ndarray, "n"]):
        scores, same = scores_of_both_kinds(scores, same, metric="an error rate", unit="pairs")
        self.order = np.argsort(-scores)
        self.same = same[self.order]
        ranked = scores[self.order]
        # Where the last pair of each score is.
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def __call__(
        self, times: Num[np.ndarray, "n r"]
    ) -> tuple[Float[np.ndarray, "t r"], Float[np.ndarray, "t r"]]:
        times = times[self.order].astype(np.float64)
        accepted = []
        for kind in (~self.same, self.same):
            upto = np.cumsum(np.where(kind[:, None], times, 0.0), axis=0)[self.ends]
            rate = upto / np.where(upto[-1:] > 0, upto[-1:], np.nan)
            accepted.append(np.concatenate([np.zeros((1, times.shape[1])), rate]))
        false_accepts, true_accepts = accepted
        return false_accepts, 1 - true_accepts
