"""Audio clusters take the order of the video clusters."""

import itertools

import numpy as np
import pytest

from avssl.objectives.alignment import best_permutation, permute_outputs


@pytest.mark.parametrize("seed", range(5))
def test_is_the_best_of_all_permutations(seed):
    cost = np.random.default_rng(seed).random((5, 5))
    found = best_permutation(cost)
    sums = [cost[np.arange(5), list(order)].sum() for order in itertools.permutations(range(5))]
    np.testing.assert_allclose(cost[np.arange(5), found].sum(), min(sums))


def test_outputs_follow_the_permutation():
    layer = {"kernel": np.arange(12.0).reshape(4, 3), "bias": np.array([10.0, 11.0, 12.0])}
    x, order = np.ones((2, 4)), np.array([2, 0, 1])
    moved = permute_outputs(layer, order)
    before = x @ layer["kernel"] + layer["bias"]
    np.testing.assert_array_equal(x @ moved["kernel"] + moved["bias"], before[:, order])


def test_posteriors_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        best_permutation(np.full((3, 3), np.nan))
