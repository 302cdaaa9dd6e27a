import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from avssl.errors import AvsslError, UsageError
from avssl.evaluate.error_rates import (
    OperatingPoints,
    equal_error_rate,
    equal_rates,
    error_intervals,
    least_costs,
    minimum_detection_cost,
    operating_points,
)


def trials(num_pairs=200, num_values=1000, seed=0):
    """With few values most pairs tie."""
    rng = np.random.default_rng(seed)
    same = rng.random(num_pairs) < 0.3
    scores = rng.integers(0, num_values, num_pairs) + 0.4 * num_values * same
    return scores.round(), same


def rates_by_counting(scores, same):
    """(false acceptance, false rejection) of every threshold, from the highest."""
    thresholds = [np.inf, *sorted(set(scores), reverse=True)]
    return [
        (
            sum(s >= t and not same_one for s, same_one in zip(scores, same, strict=True))
            / sum(~same),
            sum(s < t and same_one for s, same_one in zip(scores, same, strict=True)) / sum(same),
        )
        for t in thresholds
    ]


CASES = {"distinct": (200, 10**9), "ties": (200, 6), "few": (7, 100)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_rates_equal_counting(case, seed):
    scores, same = trials(*CASES[case], seed=seed)
    points = rates_by_counting(scores, same)
    found = np.concatenate(operating_points(scores, same), axis=1)
    np.testing.assert_allclose(found, points, atol=1e-12)

    costs = [0.02 * 10 * miss + 0.98 * 3 * accept for accept, miss in points]
    found = minimum_detection_cost(
        scores, same, target_share=0.02, miss_cost=10, false_accept_cost=3
    )
    assert found == pytest.approx(min(costs) / 0.2, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_equal_error_rate_is_where_the_straight_lines_cross(case, seed):
    scores, same = trials(*CASES[case], seed=seed)
    false_accepts, true_accepts, _ = roc_curve(same, scores, drop_intermediate=False)
    steps = np.arange(len(false_accepts))
    accepts, misses = interp1d(steps, false_accepts), interp1d(steps, 1 - true_accepts)
    crossing = brentq(lambda step: accepts(step) - misses(step), 0, steps[-1], xtol=1e-13)
    assert equal_error_rate(scores, same) == pytest.approx(float(accepts(crossing)), abs=1e-9)


def test_known_values():
    same = np.array([True, True, False, False])
    assert equal_error_rate(np.array([4.0, 3.0, 2.0, 1.0]), same) == 0
    assert minimum_detection_cost(np.array([4.0, 3.0, 2.0, 1.0]), same) == 0
    assert equal_error_rate(np.array([1.0, 2.0, 3.0, 4.0]), same) == 1
    assert equal_error_rate(np.array([4.0, 2.0, 3.0, 1.0]), same) == 0.5
    # One of three strangers before the last of two persons: between (1/3, 1/2) and (1/3, 0).
    scores, same = np.array([5.0, 3.0, 4.0, 2.0, 1.0]), np.array([1, 1, 0, 0, 0], bool)
    assert equal_error_rate(scores, same) == pytest.approx(1 / 3)
    # Half of the targets are missed for no false acceptance; 0.01 of the pairs are targets.
    assert minimum_detection_cost(scores, same) == pytest.approx(0.5)
    # With dear misses it is better to accept one stranger of three.
    found = minimum_detection_cost(scores, same, target_share=0.5)
    assert found == pytest.approx(1 / 3)


def test_a_collapsed_encoder_is_at_chance():
    same = np.arange(9) < 2
    assert equal_error_rate(np.ones(9), same) == 0.5
    assert minimum_detection_cost(np.ones(9), same) == 1
    assert minimum_detection_cost(np.ones(9), same, target_share=0.9) == 1


def test_only_the_order_of_scores_matters():
    scores, same = trials()
    for measure in (equal_error_rate, minimum_detection_cost):
        assert measure(np.exp(scores / 500), same) == measure(scores, same)
        assert measure(scores.astype(np.float32), same) == measure(scores, same)


def test_bad_input_is_one_sentence():
    scores, same = trials(5)
    with pytest.raises(UsageError, match="an error rate needs positives and negatives; of 5 pairs"):
        equal_error_rate(scores, np.ones(5, bool))
    with pytest.raises(UsageError, match="of 0 pairs 0 are positive"):
        equal_error_rate(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(ValueError, match="5 scores need as many booleans"):
        equal_error_rate(scores, same.astype(int))
    with pytest.raises(AvsslError, match="1 of the 5 scores are not finite"):
        minimum_detection_cost(np.where(np.arange(5) == 2, np.nan, scores), same)
    for options in ({"target_share": 0.0}, {"target_share": 1.0}, {"miss_cost": 0.0}):
        with pytest.raises(ValueError, match="target_share between 0 and 1 and costs above 0"):
            minimum_detection_cost(scores, same, **options)


@pytest.mark.parametrize("case", CASES)
def test_pairs_that_count_several_times_are_as_if_they_were_there_so_often(case):
    scores, same = trials(*CASES[case])
    times = np.random.default_rng(1).integers(0, 3, (len(scores), 5))
    times[same, 4] = 0
    rates = OperatingPoints(scores, same)(times)
    found = np.stack([equal_rates(*rates), least_costs(*rates)], axis=1)
    for column, (rate, cost) in zip(times.T[:4], found, strict=False):
        pairs = np.repeat(scores, column), np.repeat(same, column)
        assert rate == pytest.approx(equal_error_rate(*pairs), abs=1e-12)
        assert cost == pytest.approx(minimum_detection_cost(*pairs), abs=1e-12)
    assert np.isnan(found[4]).all()


def test_intervals_hold_the_rates():
    scores, same = trials(400)
    values = {
        "eer": equal_error_rate(scores, same), "min_dcf": minimum_detection_cost(scores, same)
    }  # fmt: skip
    for metric, (low, high) in error_intervals(scores, same, values).items():
        assert low < values.pop(metric) < high
    assert not values
