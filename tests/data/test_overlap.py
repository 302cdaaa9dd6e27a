"""Clips that were trained on and are scored: counted by their keys, and said."""

import numpy as np
import pytest

from avssl.config import load_config, resolve
from avssl.data.holdout import split_holdout
from avssl.data.open import open_source
from avssl.data.overlap import num_shared, warn_of_shared
from avssl.data.record import Record
from avssl.errors import UsageError
from avssl.evaluate import run as room
from avssl.train.run import check_evaluation
from tests.conftest import TINY_CONFIG


class Keys:
    """Records whose media are what they are called, of a kind."""

    def __init__(self, spec, *keys, kind=""):
        self.spec, self.keys, self.kind = spec, keys, kind

    def key(self, index):
        return self.keys[index]

    def __getitem__(self, index):
        return Record(self.keys[index], index, f"{self.kind}{self.keys[index]}".encode())


class Lost(Keys):
    def __getitem__(self, index):
        return Record(self.keys[index], index, "/nowhere")


SCORED = Keys("folder:videos@test", "a", "b", "c", "d")
FITTED = Keys("folder:videos@train", "d", "b", "e", "a")


@pytest.mark.parametrize(
    ("scored", "fitted", "number"),
    [([0, 1, 2, 3], [0, 1, 2, 3], 3), ([0, 1], [0, 1, 2], 1), ([2], [0, 1, 2, 3], 0), ([0], [], 0)],
)
def test_only_the_records_that_are_used_count(scored, fitted, number):
    assert num_shared((SCORED, np.array(scored)), (FITTED, np.array(fitted, int))) == number


def test_nothing_is_said_of_nothing(capsys):
    warn_of_shared((SCORED, np.array([2])), (FITTED, np.arange(4)), "that are trained on")
    assert capsys.readouterr().err == ""
    warn_of_shared((SCORED, np.array([0, 2])), (FITTED, np.arange(4)), "that are trained on")
    said = capsys.readouterr().err
    assert "1 of the 2 clips of folder:videos@test that are scored are among those that are" in said
    assert "trained on (folder:videos@train)" in said


def test_equal_names_in_two_data_sets_are_the_same_only_if_their_media_are():
    rows = np.arange(4)
    elsewhere = Keys("folder:more", "d", "b", "e", "a")
    assert num_shared((SCORED, rows), (elsewhere, rows)) == 3
    other = Keys("folder:more", "d", "b", "e", "a", kind="another ")
    assert num_shared((SCORED, rows), (other, rows)) == 0
    mixed = Keys("folder:more*2+folder:videos@train", "d", "b", "e", "a", kind="another ")
    assert num_shared((SCORED, rows), (mixed, rows)) == 3
    # What cannot be read is not the same.
    lost = Lost("folder:more", "a")
    assert num_shared((lost, rows[:1]), (SCORED, rows[:1])) == 0


@pytest.fixture
def config():
    config = load_config(TINY_CONFIG)
    config.eval.protocols, config.data.holdout_fraction = ("knn",), 0.5
    config = resolve(config)
    config.eval.test_data = config.data.source
    return config


def test_a_run_says_it_at_its_start(config, generated, capsys):
    source = generated(config.data.source)
    indices = np.arange(0, len(source), 2)
    check_evaluation(config, source, indices)
    said = capsys.readouterr().err
    assert f"{len(indices)} of the {len(source)} clips of world:tiny@train that are scored" in said
    config.eval.test_data = "world:tiny@test"
    generated(config.eval.test_data)
    check_evaluation(config, source, indices)
    assert capsys.readouterr().err == ""


def test_an_evaluation_says_it_of_probes_and_of_the_run(config, capsys, monkeypatch, tmp_path):
    def no_checkpoint(*_):
        raise UsageError("no checkpoint")

    monkeypatch.setattr(room, "run_config", lambda _: config)
    monkeypatch.setattr(room, "trained_variables", no_checkpoint)

    def said_with(**keys):
        with pytest.raises(UsageError, match="no checkpoint"):
            room.evaluate_folder(tmp_path, room.Asked(**keys))
        return [line for line in capsys.readouterr().err.splitlines() if "are among those" in line]

    probes, trained = said_with()
    assert "32 of the 32 clips" in probes
    assert "that probes are trained on (world:tiny@train)" in probes
    kept = len(split_holdout(open_source(config.data.source), 0.5)[0])
    assert f"{kept} of the 32 clips" in trained
    assert "that the run was trained on (world:tiny@train)" in trained
    assert said_with(protocols=("localization",)) == [trained]
    assert said_with(test_data="world:tiny@test") == []
    # Without test data a part is held out, of training too.
    config.eval.test_data = ""
    assert said_with() == []
