"""Offset accuracy: where the sounds lie, what is right, and what clips are too short for."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from avssl.config import load_config, resolve
from avssl.data.open import open_source
from avssl.data.pipeline import evaluation_batches
from avssl.errors import UsageError
from avssl.evaluate import offsets as room
from avssl.evaluate import timing as protocol
from avssl.evaluate.features import Extractor
from avssl.evaluate.offsets import found_within, likeness_by_offset, offset_scores
from avssl.evaluate.sides import Score, Sides
from avssl.evaluate.timing import timing
from avssl.train.build_model import evaluation_model
from tests.conftest import TINY_CONFIG

# Of a quarter of a second each, in clips of one and a half; the sound is short, so that two of them fit beside
# half a second of silence.
REACH = 2
SECONDS = 0.125


@pytest.fixture(scope="module")
def measured() -> tuple[Any, Sides]:
    """A tiny model at random initialisation, and what it gives on the smallest world."""
    config = load_config(TINY_CONFIG)
    config.data.num_records = 32
    config.views.audio.seconds = SECONDS
    model = evaluation_model(resolve(config))
    weights = {"": jax.jit(model.init)(jax.random.key(0))}
    part = open_source("world:tiny@test"), np.arange(16)
    found = Extractor(model).extract(weights, *part)[""]
    return model, Sides(weights[""], found, found, part, part, 0)


@pytest.fixture(scope="module")
def likeness(measured) -> np.ndarray:
    model, sides = measured
    return likeness_by_offset(model, "xid", sides, REACH)


def test_the_best_offset_is_right_when_it_is_near_and_ties_share():
    likeness = np.zeros((4, 7))
    for row, best in enumerate((3, 4, 0)):
        likeness[row, best] = 1.0
    assert found_within(likeness, 0).tolist() == [1, 0, 0, 1 / 7]
    assert found_within(likeness, 1).tolist() == [1, 1, 0, 3 / 7]
    assert found_within(likeness, 2).tolist() == [1, 1, 0, 5 / 7]
    likeness[0, 5] = 1.0
    assert found_within(likeness, 1)[0] == 0.5


def test_each_offset_is_the_sound_a_frame_later(measured, likeness):
    """Against a pass for each, whose sound begins at a given time."""
    model, sides = measured
    assert likeness.shape == (16, 2 * REACH + 1)
    still = model.without_draws()
    video, audio = sides.test.of("xid")["video"], still.views["audio"]
    starts = np.full(16, (sides.scored[0][0].duration_seconds - audio.seconds) / 2)
    key = jax.random.key(0)
    encode = jax.jit(lambda batch: still.encode(sides.variables, batch, key, train=False)[0])
    for place, frames in enumerate(range(-REACH, REACH + 1)):
        moved = dataclasses.replace(audio, anchor="moved")
        with evaluation_batches(
            sides.scored[0], {"audio": moved}, batch_size=16, indices=np.arange(16),
            starts=starts + frames / still.views["video"].fps,
        ) as batches:  # fmt: skip
            batch = jax.tree.map(jnp.asarray, next(batches))
        batch.pop("mask")
        seen = still.example_batch(16)
        for group in ("views", "geometry", "present"):
            batch[group] = {**seen[group], **batch[group]}
        sound = encode(batch)["xid"]["audio"]
        expected = sides.row_similarity(model, "xid", video, sound)
        np.testing.assert_allclose(likeness[:, place], expected, atol=1e-4)
    assert np.ptp(likeness, axis=1).min() > 1e-3, "the offsets differ"


def test_any_batches_and_devices_give_the_same_and_of_many_clips_so_many_are_taken(
    measured, likeness, monkeypatch, capsys
):
    model, sides = measured
    single = Mesh(np.asarray(jax.devices()[:1]).reshape(-1, 1), ("data", "fsdp"))
    monkeypatch.setattr(room, "local_mesh", lambda: single)
    monkeypatch.setattr(room, "BATCH_SIZE", 4)
    monkeypatch.setattr(room, "MOST_CLIPS", 6)
    # What was compiled for all devices is of no use on one.
    sides = dataclasses.replace(sides, compiled={})
    found = likeness_by_offset(model, "xid", sides, REACH)
    np.testing.assert_allclose(found, likeness[::3], rtol=1e-4, atol=1e-5)
    assert "offsets of 6 of 16 clips" in capsys.readouterr().out


def test_both_accuracies_stand_in_the_table_with_their_chance(measured, likeness, monkeypatch):
    model, sides = measured
    monkeypatch.setattr(room, "likeness_by_offset", lambda *_: likeness)
    scores = {score.metric: score for score in timing(model, sides, reach=REACH)}
    assert list(scores) == ["two_way", "offset_within_1"]
    assert scores["two_way"].chance == 0.5
    assert scores["offset_within_1"].chance == 3 / 5
    assert scores["offset_within_1"].value == found_within(likeness, 1).mean()
    for score in scores.values():
        assert score.n == 16
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]


def test_the_second_objective_has_its_name_before_the_metric(monkeypatch):
    def measure(model, name, sides, reach=0):
        return [Score("joint", "near", 0.5, 0.5, 4)]

    for name in ("two_way_scores", "offset_scores"):
        monkeypatch.setattr(protocol, name, measure)
    outputs = {"blind": {}, "one": {"video": 0, "audio": 0}, "two": {"video": 0, "audio": 0}}
    sides: Any = SimpleNamespace(test=SimpleNamespace(outputs=outputs))
    model: Any = SimpleNamespace(objectives=dict.fromkeys(outputs))
    found = [score.metric for score in timing(model, sides)]
    assert found == ["near", "near", "two/near", "two/near"]


def test_what_the_clips_are_too_short_for_is_said(measured, capsys):
    model, sides = measured
    assert [score.metric for score in timing(model, sides)] == ["two_way"]
    sentence = (
        "offsets of 15 frames to either side need clips of 7.625 s, and none of world:tiny@test"
    )
    assert sentence in capsys.readouterr().out
    longer = {**model.views, "audio": dataclasses.replace(model.views["audio"], seconds=1.0)}
    with pytest.raises(UsageError, match=r"long enough for a second sound.*; offsets of 15 frames"):
        timing(dataclasses.replace(model, views=longer), dataclasses.replace(sides, compiled={}))


def test_what_cannot_be_searched_is_refused(measured):
    model, sides = measured
    with pytest.raises(UsageError, match=r"eval.offset_frames .* 1 or more, not -3"):
        offset_scores(model, "xid", sides, -3)
    several = {**model.views, "audio": dataclasses.replace(model.views["audio"], windows=2)}
    with pytest.raises(UsageError, match="windows or a shift of its own"):
        offset_scores(dataclasses.replace(model, views=several), "xid", sides, REACH)
    silent: Any = SimpleNamespace(outputs={"xid": {}})
    assert timing(model, dataclasses.replace(sides, test=silent)) == []
