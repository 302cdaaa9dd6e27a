"""Targets as rows of a batch: which window of a store is drawn, what is mirrored, and what is missing."""

import dataclasses

import numpy as np
import pytest

from avssl.data.joined import Join, check_joins, draw_windows, empty_targets, fill_targets
from avssl.data.open import open_source
from avssl.data.placement import place_in_space
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.media.errors import MediaError
from tests.teachers.stores import DATA


@dataclasses.dataclass
class Fake:
    """A store of windows; record 1 lacks the modality, 2 is a gap, 3 is damaged."""

    every_seconds: float = 0.5
    counts: tuple = (4, 0, 0, 2)

    def num_windows(self, index):
        return self.counts[index]

    def is_gap(self, index):
        return index == 2

    def read(self, index, window, key, kinds):
        if index == 3:
            raise MediaError("damaged")
        return {kind: np.full(2, 10 * index + window, np.float32) for kind in kinds}


def test_gaps_are_masked_and_told_apart_from_what_cannot_be_there():
    view = AudioView(seconds=0.5)
    joins = {"a": Join(Fake(), {"logits": (2,)}, view), "b": Join(Fake(), {"logits": (2,)})}
    batch = empty_targets(joins, 4)
    batch["targets"]["a"]["logits"][:] = 9  # of a record that could not be read
    source = open_source(DATA)
    numbers = []
    for row in range(4):
        for position in range(20):
            windows = draw_windows(joins, row, {"clip": ("random", 0.5)}, seed=0, position=position)
            numbers.append((row, windows.numbers["a"], windows.starts.get(view)))
        fill_targets(batch, row, joins, source, row, windows)
    assert {number for number in numbers if number[0] == 0} == {(0, w, w / 2) for w in range(4)}
    assert batch["taught"]["a"].tolist() == [True, False, False, False]
    assert batch["untaught"]["a"].tolist() == [-1, -1, 2, 3]
    assert not batch["targets"]["a"]["logits"][1:].any()
    assert batch["targets"]["b"]["logits"].tolist()[0] == [0.0, 0.0]
    with pytest.raises(UsageError, match=r"every 0.5 s and every 0.25 s of one anchor"):
        check_joins({**joins, "c": Join(Fake(every_seconds=0.25), {}, view)})


def test_records_without_room_for_all_slots_are_not_taught_and_counted():
    view = AudioView(seconds=0.5, windows=3, every_seconds=1.0)
    joins = {"a": Join(Fake(counts=(6, 4, 0, 0)), {"logits": (3, 2)}, view)}
    batch, source = empty_targets(joins, 2), open_source(DATA)
    numbers = set()
    for row in range(2):
        for position in range(20):
            windows = draw_windows(joins, row, {"clip": ("random", 2.5)}, seed=0, position=position)
            numbers.add((row, windows.numbers["a"], windows.starts.get(view)))
        fill_targets(batch, row, joins, source, row, windows)
    assert numbers == {(0, 0, 0.0), (0, 1, 0.5), (1, 0, None)}
    said = batch["targets"]["a"]["logits"]
    np.testing.assert_array_equal(said[0] - said[0, :1], [[0, 0], [2, 2], [4, 4]])
    assert not said[1].any()
    assert batch["taught"]["a"].tolist() == [True, False]
    assert batch["untaught"]["a"].tolist() == [-1, 1]


class Maps(Fake):
    def read(self, index, window, key, kinds):
        return {"map": np.arange(2, dtype=np.float32).reshape(1, 1, 2, 1)}


def test_maps_of_another_track_are_mirrored_with_the_pictures_that_are_cut_like_it():
    rgb = VideoView(frames=2, size=8)
    joins = {
        "depth": Join(Maps(0.0), {"map": (1, 1, 2, 1)}, dataclasses.replace(rgb, stream="depth"))
    }
    source, flips = open_source(DATA), []
    for position in range(20):
        windows = draw_windows(joins, 0, {"clip": ("random", 1.0)}, seed=0, position=position)
        fill_targets(batch := empty_targets(joins, 1), 0, joins, source, 0, windows)
        crop = place_in_space(rgb, frame_width=40, frame_height=30, seed=0, position=position)
        assert batch["targets"]["depth"]["map"].ravel().tolist() == [crop.flip, not crop.flip]
        flips.append(crop.flip)
    assert 0 < sum(flips) < 20


class FoundBoxes(Fake):
    def read(self, index, window, key, kinds):
        return {"boxes": np.array([[0.1, 0.2, 0.4, 0.3, 0.9, 2], [0, 0, 0, 0, 0, 0]], np.float32)}


def test_boxes_are_mirrored_with_the_picture_that_they_are_of():
    view = VideoView(frames=1, size=8)
    joins = {"eye": Join(FoundBoxes(0.0), {"boxes": (2, 6)}, view)}
    source, flips = open_source(DATA), []
    for position in range(20):
        windows = draw_windows(joins, 0, {"clip": ("random", 1.0)}, seed=0, position=position)
        fill_targets(batch := empty_targets(joins, 1), 0, joins, source, 0, windows)
        flip = place_in_space(view, frame_width=40, frame_height=30, seed=0, position=position).flip
        first, none = batch["targets"]["eye"]["boxes"][0]
        span = [0.6, 0.9] if flip else [0.1, 0.4]
        np.testing.assert_allclose(first, [span[0], 0.2, span[1], 0.3, 0.9, 2], rtol=1e-6)
        assert not none.any()
        flips.append(flip)
    assert 0 < sum(flips) < 20
