import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from avssl.errors import AvsslError, UsageError
from avssl.evaluate.two_way import area_under_curve, two_way


def test_a_tie_counts_half():
    true, other = np.array([3.0, 1.0, 2.0, 5.0]), np.array([2.0, 1.0, 4.0, 4.0])
    assert two_way(true, other).tolist() == [1.0, 0.5, 0.0, 1.0]
    assert two_way(other, true).tolist() == [0.0, 0.5, 1.0, 0.0]


def test_a_collapsed_encoder_is_at_chance():
    assert two_way(np.ones(7), np.ones(7)).mean() == 0.5
    assert area_under_curve(np.ones(7), np.arange(7) < 2) == 0.5


@pytest.mark.parametrize("num_values", [3, 1000])
def test_the_area_equals_scikit_learn(num_values):
    """With few values most clips tie."""
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    scores = (rng.integers(0, num_values, 200) + 0.3 * num_values * positive).round()
    expected = roc_auc_score(positive, scores)
    assert 0.55 < expected < 0.95
    assert area_under_curve(scores, positive) == pytest.approx(expected, abs=1e-12)
    assert area_under_curve(-scores, positive) == pytest.approx(1 - expected, abs=1e-12)


def test_infinite_weights_or_none_at_all_are_refused():
    with pytest.raises(AvsslError, match="1 of the 3 scores are not finite"):
        two_way(np.array([0.0, np.nan, 1.0]), np.zeros(3))
    with pytest.raises(AvsslError, match="not finite"):
        area_under_curve(np.array([0.0, np.inf]), np.array([True, False]))
    with pytest.raises(UsageError, match="there are none"):
        two_way(np.zeros(0), np.zeros(0))
    with pytest.raises(UsageError, match="of 3 clips 0 are positive"):
        area_under_curve(np.zeros(3), np.zeros(3, bool))


def test_scores_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="3 scores of true pairs beside 2"):
        two_way(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="as many booleans"):
        area_under_curve(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ValueError, match="shape"):
        two_way(np.zeros((2, 2)), np.zeros((2, 2)))
