"""Bootstrap intervals, against SciPy's."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from avssl.evaluate import intervals
from avssl.evaluate.intervals import (
    LEAST_RESAMPLES,
    NUM_RESAMPLES,
    draw_times,
    interval_of_mean,
    interval_of_median,
    intervals_of,
    medians,
    num_resamples,
)
from avssl.evaluate.ranked import Ranked, areas_under_curve
from avssl.evaluate.two_way import area_under_curve

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("ours", "statistic", "values"),
    [
        (interval_of_mean, np.mean, GENERATOR.random(400) < 0.3),
        (interval_of_mean, np.mean, GENERATOR.gamma(2.0, size=300)),
        (interval_of_median, np.median, GENERATOR.integers(1, 40, 201)),
    ],
)
def test_as_scipy(ours, statistic, values):
    found = bootstrap(
        (values.astype(float),), statistic, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    width = found.high - found.low
    low, high = ours(values)
    assert low < statistic(values) < high
    # Ends of 1000 resamples vary by a few per cent of the width.
    assert low == pytest.approx(found.low, abs=0.12 * width)
    assert high == pytest.approx(found.high, abs=0.12 * width)
    assert ours(values) == (low, high)


def test_few_at_once_are_the_same(monkeypatch):
    values = GENERATOR.random(50)
    expected = interval_of_mean(values)
    monkeypatch.setattr(intervals, "COUNTS_AT_ONCE", 700)
    assert interval_of_mean(values) == pytest.approx(expected, rel=1e-12)


def test_one_value_has_no_width():
    assert interval_of_mean(np.ones(5, bool)) == (1.0, 1.0)
    assert interval_of_median(np.array([3])) == (3.0, 3.0)


def test_medians_of_counts():
    counts = np.array([[1, 1, 0], [0, 1, 1], [2, 0, 0], [1, 0, 1]])
    assert medians(np.array([1.0, 2.0, 9.0]), counts).tolist() == [1.5, 5.5, 1.0, 5.0]


def means(values: np.ndarray):
    """Of clips that count so many times."""
    return lambda times: {"top1": values @ times / times.sum(axis=0)}


def test_of_means_it_is_the_interval_of_the_mean():
    values = GENERATOR.random(300)
    found = intervals_of(means(values), {"top1": float(values.mean())}, 300)["top1"]
    low, high = interval_of_mean(values)
    assert found == pytest.approx((low, high), abs=0.12 * (high - low))


def test_areas_under_curves_as_scipy():
    positive = GENERATOR.random(200) < 0.4
    scores = np.round(GENERATOR.normal(size=200) + positive, 1)
    value = area_under_curve(scores, positive)
    expected = bootstrap(
        (scores, positive), lambda scores, positive: area_under_curve(scores, positive > 0),
        n_resamples=800, method="percentile", paired=True, vectorized=False, rng=1,
    )  # fmt: skip
    low, high = expected.confidence_interval
    bias = expected.bootstrap_distribution.mean() - value
    ranked = Ranked(scores, positive)
    found = intervals_of(
        lambda times: {"roc_auc": areas_under_curve(ranked.steps(times))}, {"roc_auc": value}, 200
    )["roc_auc"]
    assert found == pytest.approx((low - bias, high - bias), abs=0.15 * (high - low))


def test_a_resample_has_as_many_clips():
    times = draw_times(np.random.default_rng(0), 50, 400)
    assert times.shape == (50, 400)
    assert (times.sum(axis=0) == 50).all()
    # Of independent draws, each with the same chance: binomial.
    assert times.mean() == 1.0
    assert times.var() == pytest.approx(1 - 1 / 50, abs=0.03)
    assert np.corrcoef(times[0], times[1])[0, 1] == pytest.approx(-1 / 49, abs=0.15)


def test_the_mean_of_the_resamples_is_moved_to_the_number():
    """Numbers that are too high in all resamples, and one that could not be so low."""

    def too_high(times):
        return {metric: means(values)(times)["top1"] + 0.3 for metric in ("nmi", "ari")}

    values = np.repeat([0.0, 0.2], 50)
    found = intervals_of(too_high, {"nmi": 0.01, "ari": 0.01}, 100)
    low, high = interval_of_mean(values)
    width = high - low
    assert found["ari"] == pytest.approx((0.01 - width / 2, 0.01 + width / 2), abs=0.1 * width)
    assert found["nmi"] == (0.0, found["ari"][1])


def test_resamples_without_a_number_are_left_out_and_with_too_few_there_is_no_interval():
    values = GENERATOR.random(100)

    def sometimes(share):
        def statistics(times):
            number = means(values)(times)["top1"]
            return {"map": np.where(np.arange(len(number)) < share * len(number), number, np.nan)}

        return intervals_of(statistics, {"map": values.mean()}, 100)

    low, high = interval_of_mean(values)
    assert sometimes(0.5)["map"] == pytest.approx((low, high), abs=0.2 * (high - low))
    assert sometimes(0.04) == {}


def test_what_is_dear_has_fewer_resamples():
    assert num_resamples(10_000) == NUM_RESAMPLES
    assert num_resamples(100_000) == 300
    assert num_resamples(10**9) == LEAST_RESAMPLES
