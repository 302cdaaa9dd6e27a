"""Which of two is the true one, and which of many are the odd ones."""

import numpy as np
from jaxtyping import Bool, Float

from avssl.errors import UsageError
from avssl.evaluate.checks import finite_scores
from avssl.evaluate.ranked import Ranked, areas_under_curve


def two_way(
    score_true: Float[np.ndarray, "n"], score_other: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Of each pair, whether the true partner scores higher than the other one; chance is 0.5.

    A tie counts half, so that a collapsed encoder, for which everything ties, is at chance.
    """
    score_true = finite_scores(score_true)
    score_other = finite_scores(score_other)
    if score_true.shape != score_other.shape:
        raise ValueError(
            f"{len(score_true)} scores of true pairs beside {len(score_other)} of other pairs"
        )
    if not len(score_true):
        raise UsageError("two-way accuracy needs pairs to choose from; there are none")
    return (score_true > score_other) + 0.5 * (score_true == score_other)


def area_under_curve(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """How likely a positive scores higher than a negative, ties counted half; chance is 0.5.

    The area under the ROC curve. Give `-weights` where small weights should mark the positives.
    """
    scores, positive = scores_of_both_kinds(
        scores, positive, metric="the area under the curve", unit="clips"
    )
    steps = Ranked(scores, positive).steps(np.ones((len(scores), 1)))
    return float(areas_under_curve(steps)[0])


def scores_of_both_kinds(
    scores: np.ndarray, positive: np.ndarray, *, metric: str, unit: str
) -> tuple[np.ndarray, np.ndarray]:
    """Finite scores and as many booleans, some of them true and some false."""
    scores = finite_scores(scores)
    positive = np.asarray(positive)
    if positive.dtype != bool or positive.shape != scores.shape:
        raise ValueError(f"{len(scores)} scores need as many booleans, not {positive.shape}")
    if positive.all() or not positive.any():
        raise UsageError(
            f"{metric} needs positives and negatives; "
            f"of {len(positive)} {unit} {positive.sum()} are positive"
        )
    return scores, positive
