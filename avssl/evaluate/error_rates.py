"""Verification of identity: how often scores of pairs accept a stranger or refuse the same person."""

import numpy as np
from jaxtyping import Bool, Float

from avssl.evaluate.two_way import scores_of_both_kinds


def equal_error_rate(scores: Float[np.ndarray, "n"], same: Bool[np.ndarray, "n"]) -> float:
    """The rate at which false acceptances and false rejections are equally frequent; chance is 0.5.

    A pair is accepted where its score reaches a threshold. The operating points of all thresholds,
    those that accept nothing and everything among them, are joined by straight lines, and the rate
    is where the two frequencies cross on them: linear interpolation between neighbours. Pairs with
    equal scores are one step, so that a collapsed encoder, for which everything ties, is at 0.5.
    """
    false_accepts, false_rejects = operating_points(scores, same)
    gap = false_accepts - false_rejects  # from -1 to 1, and never falls
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    step = false_accepts[after] - false_accepts[before]
    return float(false_accepts[before] + share * step)


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
    false_accepts, misses = operating_points(scores, same)
    of_misses, of_accepts = miss_cost * target_share, false_accept_cost * (1 - target_share)
    cost = of_misses * misses + of_accepts * false_accepts
    return float(cost.min() / min(of_misses, of_accepts))


def operating_points(
    scores: Float[np.ndarray, "n"], same: Bool[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "t"], Float[np.ndarray, "t"]]:
    """Frequencies of false acceptance and of false rejection at each threshold, from the highest.

    The thresholds are infinity, which accepts nothing, and every score that occurs.
    """
    scores, same = scores_of_both_kinds(scores, same, metric="an error rate", unit="pairs")
    values, inverse = np.unique(-scores, return_inverse=True)
    accepted = [
        np.cumsum(np.bincount(inverse[kind], minlength=len(values))) / kind.sum()
        for kind in (~same, same)
    ]
    false_accepts, true_accepts = (np.concatenate([[0.0], rate]) for rate in accepted)
    return false_accepts, 1 - true_accepts
