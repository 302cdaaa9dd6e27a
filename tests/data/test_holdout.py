import numpy as np
import pytest

from avssl.data.holdout import split_holdout
from avssl.errors import UsageError


class Keys:
    spec = "keys"

    def __init__(self, keys):
        self.keys = keys

    def __len__(self):
        return len(self.keys)

    def key(self, index):
        return self.keys[index]


def names(source, indices) -> set[str]:
    return {source.key(index) for index in indices}


def test_about_the_fraction_and_nothing_twice():
    kept, held_out = split_holdout(Keys([f"clip{index}" for index in range(5000)]), 0.1)
    assert 0.08 < len(held_out) / 5000 < 0.12
    assert kept.dtype == held_out.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(5000))


def test_more_records_move_none():
    few = Keys([f"clip{index}" for index in range(500)])
    many = Keys([f"clip{index}" for index in reversed(range(1000))])
    held_out = names(few, split_holdout(few, 0.2)[1])
    assert held_out == names(many, split_holdout(many, 0.2)[1]) & names(few, range(500))


def test_both_sides_have_a_record():
    few = Keys(["a", "b"])
    for fraction in (1e-6, 0.999):
        kept, held_out = split_holdout(few, fraction)
        assert (len(kept), len(held_out)) == (1, 1)


def test_nothing_is_held_out_by_default():
    class Unread(Keys):
        def key(self, index):
            raise AssertionError("a million keys are hashed for nothing")

    kept, held_out = split_holdout(Unread(["a"]), 0.0)
    assert (kept.tolist(), held_out.tolist()) == ([0], [])
    assert kept.dtype == held_out.dtype == np.int64


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_that_are_none(fraction):
    with pytest.raises(UsageError, match="holdout_fraction"):
        split_holdout(Keys(["a", "b"]), fraction)


def test_one_record_cannot_be_split():
    with pytest.raises(UsageError, match="none can be held out"):
        split_holdout(Keys(["a"]), 0.5)
