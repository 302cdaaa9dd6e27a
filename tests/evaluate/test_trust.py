"""Verification of training pairs: the area by dissimilarity, its interval, and that of each kind of fault."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avssl.data.record import Record
from avssl.errors import UsageError
from avssl.evaluate.trust import trust

FAULTY = np.arange(60) % 3 == 0


# Of the faulty pairs, every other one.
MUSIC = np.arange(60) % 6 == 0


class Pairs:
    spec = "pairs"

    def __init__(self, faulty):
        self.faulty = faulty

    def __getitem__(self, index):
        faulty, music = bool(self.faulty[index]), bool(MUSIC[index])
        faults = {"swapped": faulty and not music, "music": faulty and music, "silence": False}
        return Record(str(index), index, b"", truth={"faults": faults})


def measured(likeness, faulty=FAULTY, outputs=("video", "audio")):
    """Of two objectives that score picture and sound; the last pair cannot be read."""
    index = np.arange(len(faulty))[:-1]
    found: Any = SimpleNamespace(index=index, present={"video": index >= 0})
    found.where = lambda rows: found
    found.of = lambda name: {} if name == "blind" else {output: output for output in outputs}
    extractor = SimpleNamespace(extract=lambda *_: {"": found})
    sides: Any = SimpleNamespace(
        trained_on=(Pairs(faulty), np.arange(len(faulty))),
        variables={},
        workers=0,
        extractor=lambda use, model: extractor,
        row_similarity=lambda model, name, video, audio: likeness[video][index],
    )
    model: Any = SimpleNamespace(objectives=dict.fromkeys(("blind", "one", "two")))
    return {score.metric: score for score in trust(model, sides)}


def measured_alike(likeness, faulty=FAULTY):
    return measured({"video": likeness}, faulty)


def test_faulty_pairs_are_those_that_are_less_alike():
    found = measured_alike(np.where(FAULTY, -1.0, 1.0))
    metrics = ["fault_auc", "fault_auc_music", "fault_auc_swapped"]
    assert list(found) == [*metrics, *(f"two/{metric}" for metric in metrics)]
    assert found["fault_auc"].value == 1.0
    assert found["fault_auc"].interval == (1.0, 1.0)
    assert (found["two/fault_auc"].n, found["two/fault_auc"].chance) == (59, 0.5)
    noisy = np.random.default_rng(0).normal(size=60) - FAULTY
    score = measured_alike(noisy)["fault_auc"]
    assert score.interval is not None
    assert score.interval[0] < score.value < score.interval[1]
    assert 0.1 < score.interval[1] - score.interval[0] < 0.5


def test_without_faulty_pairs_there_is_nothing_to_tell_apart():
    with pytest.raises(UsageError, match="no pairs of pairs are known to be faulty"):
        measured_alike(np.ones(60), np.zeros(60, bool))


def test_a_kind_of_fault_is_told_from_the_sound_pairs_alone():
    """Music agrees as the sound pairs do, the swapped less: half of the faulty pairs are found."""
    found = measured_alike(np.where(FAULTY & ~MUSIC, -1.0, 1.0))
    areas = {metric: score.value for metric, score in found.items() if "/" not in metric}
    np.testing.assert_allclose(areas["fault_auc"], 0.75, atol=0.01)
    assert (areas["fault_auc_swapped"], areas["fault_auc_music"]) == (1.0, 0.5)
    assert (found["fault_auc_swapped"].n, found["fault_auc_music"].n) == (49, 49)
    assert found["fault_auc_swapped"].chance == 0.5


def test_averaged_networks_score_where_there_are_some():
    likeness = {"video": np.ones(60), "video_target": np.where(FAULTY, -1.0, 1.0)}
    both = ("video", "audio", "video_target", "audio_target")
    assert measured(likeness)["fault_auc"].value == 0.5
    assert measured(likeness, outputs=both)["fault_auc"].value == 1.0
