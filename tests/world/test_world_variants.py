"""Worlds made for one claim each: unequal classes, two sounds side by side, long and unrhythmic."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from avssl.world.generate import generate_clip
from avssl.world.registry import WORLDS, World
from avssl.world.scene import draw_label, draw_scene
from avssl.world.sound import mix
from tests.world.rendering import render

UNBALANCED, PAIRS, LONG = WORLDS["unbalanced"], WORLDS["pairs"], WORLDS["long"]
WINDOW_SECONDS, GAP_SECONDS = 1.5, 0.5


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_first_class_is_ten_times_as_frequent_as_the_last(split: str) -> None:
    frequencies = np.array(UNBALANCED.class_frequencies)
    assert frequencies[0] / frequencies[-1] == pytest.approx(10)
    np.testing.assert_allclose(np.diff(np.log(frequencies)), -np.log(10) / 9)
    labels = [draw_label(UNBALANCED, split, i) for i in range(UNBALANCED.num_clips(split))]
    wanted = frequencies * len(labels)
    counts = np.bincount(labels, minlength=10)
    assert (np.abs(counts - wanted) < 0.02 * wanted + 4).all()
    thirds = np.array_split(np.array(labels) == 0, 3)
    np.testing.assert_allclose([third.mean() for third in thirds], frequencies[0], atol=0.06)


def test_unequal_classes_change_nothing_but_the_classes() -> None:
    """Where both worlds name the same class, they show and sound the same."""
    same = [
        i
        for i in range(40)
        if draw_label(UNBALANCED, "test", i) == draw_label(WORLDS["quickstart"], "test", i)
    ]
    assert same
    ours, theirs = (
        generate_clip(w, "test", same[0]).pictures[""] for w in (UNBALANCED, WORLDS["quickstart"])
    )
    np.testing.assert_array_equal(ours, theirs)


def test_pairs_sound_side_by_side() -> None:
    world = dataclasses.replace(PAIRS, fps=8)
    first_is_left, seen = [], collections.Counter()
    for index in range(40):
        truth = generate_clip(world, "train", index).truth
        first, second = truth["objects"]
        assert first["class"] == truth["label"] != second["class"]
        assert truth["heard_labels"] == truth["labels"] == sorted({first["class"], second["class"]})
        for thing in (first, second):
            assert thing["sounding"]
            assert len(thing["onsets_seconds"]) >= 2
            seen[thing["class"]] += 1
        left, right = sorted(
            (np.array(thing["boxes"]) for thing in (first, second)), key=lambda b: b[0, 0]
        )
        assert left[:, 2].max() <= 0.5
        assert right[:, 0].min() >= 0.5
        assert (left[:, 0] >= 0).all()
        assert (right[:, 2] <= 1).all()
        first_is_left.append(first["boxes"][0][2] <= 0.5)
    assert 10 < sum(first_is_left) < 30
    assert len(seen) == world.num_classes


def test_both_of_a_pair_can_be_heard() -> None:
    for index in range(12):
        scene = draw_scene(PAIRS, "test", index)
        quiet = dataclasses.replace(scene.room, reverb_level=0.0, noise_level=0.0)
        alone = [
            mix(dataclasses.replace(scene, things=(thing,), room=quiet))[0]
            for thing in scene.things
        ]
        first, second = (np.sqrt(np.square(ears).mean()) for ears in alone)
        assert abs(20 * np.log10(first / second)) < 12


def shifted_windows(step: float = 0.25):
    """Starts of a window and of another of the same clip, apart by the gap or more."""
    starts = np.arange(0, LONG.seconds - WINDOW_SECONDS + 1e-9, step)
    for start in starts:
        yield start, [s for s in starts if abs(s - start) >= WINDOW_SECONDS + GAP_SECONDS]


def test_a_shifted_window_always_exists() -> None:
    assert all(others for _, others in shifted_windows(0.05))


def agree(onsets: np.ndarray, start: float, other: float, within: float = 0.06) -> bool:
    """Whether two windows hold the same onsets, to a frame."""
    one, two = (onsets[(onsets >= s) & (onsets < s + WINDOW_SECONDS)] - s for s in (start, other))
    return len(one) == len(two) and bool((np.abs(one - two) < within).all())


def share_in_step(event_seconds: list[np.ndarray]) -> float:
    return float(
        np.mean(
            [
                agree(onsets, start, other)
                for onsets in event_seconds
                for start, others in shifted_windows()
                for other in others
            ]
        )
    )


def test_shifted_sound_is_out_of_step() -> None:
    onsets = []
    for index in range(60):
        events = draw_scene(LONG, "train", index).things[0].event_seconds
        assert events is not None
        assert events[0] < 0
        assert events[-1] > LONG.seconds
        assert np.diff(events).min() > 0.19
        assert np.diff(events).max() < 0.91  # no window is without an onset
        onsets.append(events)
    assert share_in_step(onsets) < 0.01
    # A beat would come back into step, and this would tell.
    assert share_in_step([np.arange(-1, 7, 0.5)]) > 0.2
    intervals = np.concatenate([np.diff(events) for events in onsets])
    assert intervals.std() / intervals.mean() > 0.35
    pairs = np.array([(a, b) for e in onsets for a, b in itertools.pairwise(np.diff(e))])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.1


@pytest.mark.parametrize("index", range(LONG.num_classes))
def test_whatever_sounds_is_seen_to_be_struck(index: int) -> None:
    """The first frame after an onset shows it flatter than the last before. Ten clips: each class."""
    scene = draw_scene(LONG, "train", index)
    boxes = render(dataclasses.replace(scene, things=scene.things[:1]))[1][0]
    assert boxes is not None
    flatness = (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
    after = np.searchsorted(scene.frame_seconds, scene.things[0].hits(LONG.seconds)[0])
    after = after[after > 0]
    assert len(after) > 6
    assert np.median(flatness[after] / flatness[after - 1]) > 1.15


def test_worlds_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="two sounding objects alone"):
        World("none", side_by_side=True)
    with pytest.raises(ValueError, match="class_ratio must be at least 1"):
        World("none", class_ratio=0.1)
    with pytest.raises(ValueError, match="rhythm must be one of"):
        World("none", rhythm="waltz")
