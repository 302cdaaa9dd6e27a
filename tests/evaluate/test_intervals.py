"""Bootstrap intervals, against SciPy's."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from avssl.evaluate import intervals
from avssl.evaluate.intervals import interval_of_mean, interval_of_median, medians

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
