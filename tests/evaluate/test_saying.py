"""Clips that lack a modality: who is asked about them, and that probes and retrieval never see them."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from avssl.config import load_config, resolve
from avssl.evaluate.classified import classified
from avssl.evaluate.features import Extractor
from avssl.evaluate.measurement import both_sides
from avssl.evaluate.saying import sayable, with_incomplete
from avssl.evaluate.windows import Averaging, Windows
from avssl.train.build_model import evaluation_model
from tests.conftest import TINY_CONFIG
from tests.data.conftest import ListSource, make_clip

COMPLETE, SILENT, UNSEEN, BROKEN = range(8), 8, 9, 10


@pytest.fixture(scope="module")
def model():
    config = load_config(TINY_CONFIG)
    config.encoders.teacher = config.encoders.audio.to_dict()
    both = dict(weight=1.0, modalities=("video", "audio"), num_classes=2)
    config.objectives = dict(
        classify=both,
        mutual=dict(weight=1.0, num_classes=2),
        supervised=dict(weight=1.0, num_classes=2),
    )
    config.data.num_records = 11
    return evaluation_model(resolve(config))


@pytest.fixture(scope="module")
def source():
    clips = [make_clip(seed) for seed in COMPLETE]
    clips += [make_clip(SILENT, audio=False), make_clip(UNSEEN, video=False)]
    return ListSource([*clips, None], known=False)


@pytest.fixture(scope="module")
def measured(model, source):
    extractor = Extractor(model, batch_size=8)
    part: Any = source, np.arange(len(source))
    weights = {"trained": jax.jit(model.init)(jax.random.key(0))}
    sides = both_sides(extractor, weights, part, part, part, 0)
    return extractor, sides, with_incomplete(model, extractor, sides, part, 0)


@pytest.fixture(scope="module")
def in_windows(model, source, measured):
    """The same of two windows of each clip."""
    _, _, asked = measured
    own = asked["trained"]
    average = Averaging(model, own.variables, Windows(2, 1))
    kept, said = average({"trained": own.variables}, source, own.test.index)
    return dataclasses.replace(own, test=own.test.where(kept), averaged=said["trained"])


@pytest.mark.parametrize("several", [False, True])
def test_each_objective_is_asked_about_the_clips_that_it_bears(
    model, measured, in_windows, several
):
    _, sides, asked = measured
    assert sides["trained"].test.index.tolist() == list(COMPLETE)
    own = in_windows if several else asked["trained"]

    def of_whom(name, kind):
        said = own.said(model, name, kind)
        assert all(len(index) == len(logits) for index, logits in said.values())
        return {who: sorted(index.tolist()) for who, (index, _) in said.items()}

    complete = list(COMPLETE)
    assert of_whom("classify", "label_logits") == {"joint": [*complete, SILENT, UNSEEN]}
    assert of_whom("supervised", "label_logits") == {
        "video": [*complete, SILENT],
        "audio": [*complete, UNSEEN],
    }
    assert of_whom("mutual", "tag_logits") == {"audio": [*complete, UNSEEN], "joint": complete}


def test_what_is_said_of_complete_clips_stays(model, measured):
    _, sides, asked = measured
    (index, plain), (wide, found) = (
        side["trained"].said(model, "classify", "label_logits")["joint"] for side in (sides, asked)
    )
    np.testing.assert_array_equal(wide[: len(index)], index)
    np.testing.assert_array_equal(found[: len(index)], plain)
    assert [score.n for score in classified(model, asked["trained"])] == [10, 9, 9]


def test_nothing_is_read_where_no_clip_was_left_out(model, source, measured):
    _, sides, _ = measured
    nothing: Any = None
    assert with_incomplete(model, nothing, sides, (source, np.arange(8)), 0) == sides


def test_records_that_nobody_bears_are_not_opened(model, source):
    every = np.arange(11)
    assert sayable(model, source, every) is every
    has = np.ones(11, bool)
    silent, unseen = has.copy(), has.copy()
    silent[[2, 3]], unseen[[3, 5]] = False, False
    facts: Any = dataclasses.make_dataclass("Facts", ["modalities"])(lambda: (unseen, silent))
    assert sayable(model, facts, every[1:]).tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    either = model.only(["supervised"])
    assert sayable(either, facts, every[1:]).tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    strict = model.only(["mutual"])  # whose student hears
    assert sayable(strict, facts, every[1:]).tolist() == [1, 4, 5, 6, 7, 8, 9, 10]
