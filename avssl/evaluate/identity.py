"""Verification of identity: are two test clips of one person, by the cosine of their frozen features?"""

import numpy as np
from jaxtyping import Float

from avssl.evaluate.checks import finite_features
from avssl.evaluate.error_rates import equal_error_rate, error_intervals, minimum_detection_cost
from avssl.evaluate.features import probed
from avssl.evaluate.knn import unit_rows
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.evaluate.trials import Trials, trials_of
from avssl.train.model import Model

CHANCE = {"eer": 0.5, "min_dcf": 1.0}


def identity(model: Model, sides: Sides) -> list[Score]:
    """Equal error rate (chance 50 %) and minimum detection cost (at most 100 %): the lower the better.

    On the pairs that the test data lists (VoxCeleb), else on pairs drawn from its labels, half of them of one
    identity. Nothing is fitted, so identities that nobody trained on are what it is for: world:persons@test.
    """
    trials = trials_of(sides.scored, sides.test.index, sides.test.labels)
    num_clips = len(np.union1d(trials.first, trials.second))
    scores = []
    for name, features in probed(sides.test).items():
        likeness = cosines_of(features, trials)
        values = {
            "eer": equal_error_rate(likeness, trials.same),
            "min_dcf": minimum_detection_cost(likeness, trials.same),
        }
        intervals = error_intervals(likeness, trials.same, values)
        scores += scores_of(name, "", values, CHANCE, num_clips, intervals)
    return scores


def cosines_of(features: Float[np.ndarray, "clips d"], trials: Trials) -> Float[np.ndarray, "n"]:
    unit = unit_rows(finite_features(features, "features to verify"))
    return np.einsum("nd,nd->n", unit[trials.first], unit[trials.second])
