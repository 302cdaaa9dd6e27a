"""Class-balanced sampling: shares of classes, several classes a record, and batch k by (seed, k) alone."""

import numpy as np
import pytest

from avssl.config import load_config, resolve
from avssl.data.balanced import class_parts
from avssl.data.open import open_source
from avssl.data.pipeline import order_in_turn, shuffled
from avssl.data.record import Record
from avssl.errors import UsageError
from avssl.train.build_model import build_model
from avssl.train.stream import training_indices, training_pipeline
from tests.conftest import TINY_CONFIG

NAMES = ("often", "seldom", "never", "rare")
# Of 40 records all are `often`, every fifth `seldom`, one `rare` too; the last has none, of one nobody said.
SETS: list[tuple[str, ...] | None] = [
    ("often", *(("seldom",) if n % 5 == 0 else ()), *(("rare",) if n == 7 else ()))
    for n in range(40)
]
SETS[38], SETS[39] = None, ()


class Clips:
    spec = "clips"
    label_names = NAMES

    def __len__(self):
        return len(SETS)

    def labels(self):
        return np.full(len(SETS), -1, np.int32)

    def key(self, index):
        return str(index)

    def __getitem__(self, index):
        names = SETS[index]
        return Record(str(index), index, b"", truth={} if names is None else {"classes": names})


def drawn(parts, seed, start, stop):
    order = order_in_turn(parts, seed, shuffled)
    return [
        (part, int(parts[part][place])) for part, place in (order[n] for n in range(start, stop))
    ]


def test_a_record_is_in_each_of_its_classes(capsys):
    often, seldom, rare = class_parts(Clips(), np.arange(len(SETS)))
    assert often.tolist() == list(range(38))
    assert seldom.tolist() == list(range(0, 38, 5))
    assert rare.tolist() == [7]
    assert "2 of 40 records have no class and are not drawn" in capsys.readouterr().out
    kept = class_parts(Clips(), np.arange(8))
    assert [part.tolist() for part in kept] == [list(range(8)), [0, 5], [7]]


def test_classes_take_turns_and_each_goes_through_its_records():
    parts = class_parts(Clips(), np.arange(len(SETS)))
    found = drawn(parts, 3, 0, 3 * 38)
    numbers = np.array([part for part, _ in found])
    assert np.bincount(numbers).tolist() == [38, 38, 38]
    for start in range(0, len(numbers), 3):
        assert sorted(numbers[start : start + 3]) == [0, 1, 2]
    of_often = [index for part, index in found if part == 0]
    assert sorted(of_often) == list(range(38))
    assert of_often != sorted(of_often)
    seldom = [index for part, index in found if part == 1]
    for start in range(0, 32, 8):
        assert sorted(seldom[start : start + 8]) == list(range(0, 38, 5))
    assert seldom[:8] != seldom[8:16]


def test_a_sample_is_a_function_of_seed_and_position():
    parts = class_parts(Clips(), np.arange(len(SETS)))
    assert drawn(parts, 3, 50, 60) == drawn(parts, 3, 0, 60)[50:]
    assert drawn(parts, 4, 0, 60) != drawn(parts, 3, 0, 60)


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(
        UsageError, match="needs records of two classes at least; those of clips have 1"
    ):
        class_parts(Clips(), np.array([1, 2]))
    mixed = open_source("world:tiny@train+world:tiny@test")
    with pytest.raises(UsageError, match="cannot be joined with the weights of a mix"):
        class_parts(mixed, np.arange(len(mixed)))


def test_a_run_draws_so():
    config = load_config(TINY_CONFIG)
    config.data.source = "world:tiny@train[:9]"
    config.data.class_balanced = True
    config = resolve(config)
    source, model = open_source(config.data.source), build_model(config)
    labels = source.labels()
    num_classes = len(np.unique(labels))
    assert len(labels) % num_classes, "or every order would be balanced"
    pipeline = training_pipeline(config, source, model, training_indices(config, source, model))
    with pipeline.batches(0, num_classes) as batches:
        seen = np.concatenate([batch["label"] for batch in batches])
    assert set(np.bincount(seen)[np.unique(labels)]) == {config.batch_size}
