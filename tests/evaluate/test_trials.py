import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.evaluate.trials import draw_trials

IDENTITIES = np.array([4, 4, 4, 9, 9, 2, -1, 2, 7])


def test_pairs_are_of_one_person_or_of_two_and_never_twice():
    trials = draw_trials(IDENTITIES, num_pairs=10)
    assert len(trials) == 10
    assert trials.same.tolist() == [True] * 5 + [False] * 5
    np.testing.assert_array_equal(
        trials.same, IDENTITIES[trials.first] == IDENTITIES[trials.second]
    )
    assert np.all(trials.first < trials.second)
    assert len({*zip(trials.first.tolist(), trials.second.tolist(), strict=True)}) == 10
    assert 6 not in trials.first
    assert 6 not in trials.second


def test_there_are_as_many_of_both_kinds_where_one_is_rare():
    trials = draw_trials(IDENTITIES, num_pairs=1000)
    assert trials.same.sum() == (~trials.same).sum() == 5
    few_others = draw_trials(np.array([0, 0, 0, 0, 1]), num_pairs=1000)
    assert few_others.same.sum() == (~few_others.same).sum() == 4


def test_where_all_pairs_are_wanted_each_comes_once():
    trials = draw_trials(np.array([1, 0, 1, 0, 1, 0]), num_pairs=1000)
    pairs = {*zip(trials.first.tolist(), trials.second.tolist(), strict=True)}
    same = {(0, 2), (0, 4), (1, 3), (1, 5), (2, 4), (3, 5)}
    assert len(pairs) == len(trials) == 12
    assert same < pairs


@pytest.mark.parametrize(("num_others", "mean_second"), [(1, 7 / 12), (50_000, 2 / 3)])
def test_pairs_are_drawn_evenly_without_a_list_of_all_and_not_sought_in_vain(
    num_others, mean_second
):
    identities = np.zeros(100_000, int)
    identities[:num_others] = 1
    trials = draw_trials(identities, num_pairs=2000)
    np.testing.assert_array_equal(
        trials.same, identities[trials.first] == identities[trials.second]
    )
    assert len({*zip(trials.first.tolist(), trials.second.tolist(), strict=True)}) == 2000
    assert trials.second.mean() / 100_000 == pytest.approx(mean_second, abs=0.025)


def test_trials_are_a_function_of_the_seed():
    identities = np.repeat(np.arange(20), 5)
    one, again, other = (draw_trials(identities, num_pairs=60, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.first, again.first)
    np.testing.assert_array_equal(one.second, again.second)
    assert not np.array_equal(one.first, other.first)


@pytest.mark.parametrize("identities", [[0, 0, 0], [0, 1, 2], [], [-1, -1, 0]])
def test_without_both_kinds_of_pairs_there_are_no_trials(identities):
    with pytest.raises(UsageError, match="two identities or more"):
        draw_trials(np.array(identities, int))
