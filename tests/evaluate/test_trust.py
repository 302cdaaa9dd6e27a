"""Verification of training pairs: the area by dissimilarity, and its interval."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avssl.data.record import Record
from avssl.errors import UsageError
from avssl.evaluate.trust import trust

FAULTY = np.arange(60) % 3 == 0


class Pairs:
    spec = "pairs"

    def __init__(self, faulty):
        self.faulty = faulty

    def __getitem__(self, index):
        return Record(str(index), index, b"", truth={"faults": {"sound": bool(self.faulty[index])}})


def measured(likeness, faulty=FAULTY):
    """Of two objectives that score picture and sound; the last pair cannot be read."""
    index = np.arange(len(faulty))[:-1]
    found: Any = SimpleNamespace(index=index, present={"video": index >= 0})
    found.where = lambda rows: found
    found.of = lambda name: {} if name == "blind" else {"video": None, "audio": None}
    extractor = SimpleNamespace(extract=lambda *_: {"": found})
    sides: Any = SimpleNamespace(
        trained_on=(Pairs(faulty), np.arange(len(faulty))),
        variables={},
        workers=0,
        extractor=lambda use, model: extractor,
        row_similarity=lambda *_: likeness[index],
    )
    model: Any = SimpleNamespace(objectives=dict.fromkeys(("blind", "one", "two")))
    return {score.metric: score for score in trust(model, sides)}


def test_faulty_pairs_are_those_that_are_less_alike():
    found = measured(np.where(FAULTY, -1.0, 1.0))
    assert list(found) == ["fault_auc", "two/fault_auc"]
    assert found["fault_auc"].value == 1.0
    assert found["fault_auc"].interval == (1.0, 1.0)
    assert (found["two/fault_auc"].n, found["two/fault_auc"].chance) == (59, 0.5)
    noisy = np.random.default_rng(0).normal(size=60) - FAULTY
    score = measured(noisy)["fault_auc"]
    assert score.interval is not None
    assert score.interval[0] < score.value < score.interval[1]
    assert 0.1 < score.interval[1] - score.interval[0] < 0.5


def test_without_faulty_pairs_there_is_nothing_to_tell_apart():
    with pytest.raises(UsageError, match="no pairs of pairs are known to be faulty"):
        measured(np.ones(60), np.zeros(60, bool))
