"""Identities: their own look and voice, disjoint splits, and no mean that gives them away."""

import dataclasses

import numpy as np
import pytest

from avssl.evaluate.error_rates import equal_error_rate
from avssl.evaluate.trials import draw_trials
from avssl.world.generate import generate_clip
from avssl.world.persons import Person
from avssl.world.registry import WORLDS
from avssl.world.scene import draw_label, draw_scene
from avssl.world.sound import record
from tests.world.rendering import render

PERSONS, TINY = WORLDS["persons"], WORLDS["tiny_persons"]
# The same persons in quicker clips.
SLOW = dataclasses.replace(PERSONS, fps=1, seconds=1.0, size=48)


def person_in(index: int, split: str = "train") -> Person:
    (person,) = draw_scene(PERSONS, split, index).things
    assert isinstance(person, Person)
    return person


def test_nobody_is_in_both_splits_and_everybody_has_several_clips() -> None:
    seen = {
        split: [draw_label(PERSONS, split, index) for index in range(PERSONS.num_clips(split))]
        for split in ("train", "test")
    }
    assert set(seen["train"]) == set(range(80))
    assert set(seen["test"]) == set(range(80, 120))
    for labels in seen.values():
        counts = np.unique(labels, return_counts=True)[1]
        assert counts.min() == counts.max() >= 10
    assert PERSONS.class_names[119] == "person119"


def test_an_identity_is_the_same_in_all_its_clips_and_nothing_else_is() -> None:
    labels = [draw_label(PERSONS, "train", index) for index in range(160)]
    one, other = (person_in(index) for index in np.flatnonzero(np.array(labels) == 7))
    assert one.class_index == other.class_index == 7
    assert str(one.identity) == str(other.identity)
    assert str(one.pose) != str(other.pose)
    assert str(one.delivery) != str(other.delivery)
    assert one.words != other.words
    assert one.stage != other.stage
    assert one.loudness != other.loudness
    stranger = person_in(labels.index(8))
    assert str(stranger.identity.look) != str(one.identity.look)
    assert str(stranger.identity.voice) != str(one.identity.voice)


def test_the_mouth_opens_when_a_syllable_is_heard() -> None:
    for index in range(4):
        person, (audio, _) = person_in(index), record(draw_scene(PERSONS, "train", index))
        times = np.arange(0, PERSONS.seconds, 0.02)
        level = np.abs(audio.astype(float)).max(axis=1).reshape(len(times), -1).mean(axis=1)
        opening = person.openness(times)
        assert np.corrcoef(opening, level)[0, 1] > 0.3
        assert person.said(PERSONS.seconds).size >= 4
    truth = generate_clip(TINY, "test", 0).truth
    (talker,) = truth["objects"]
    assert len(talker["syllables"]) == len(talker["onsets_seconds"]) >= 3
    assert talker["class_name"] == TINY.class_names[truth["label"]]


def test_the_box_holds_the_head() -> None:
    for index in range(3):
        person = person_in(index)
        _, (boxes,) = render(draw_scene(PERSONS, "train", index))
        assert boxes is not None
        path = person.path(draw_scene(PERSONS, "train", index).frame_seconds)
        inside = (boxes[:, 0] < path.x) & (path.x < boxes[:, 2])
        assert inside.all()
        heights = boxes[:, 3] - boxes[:, 1]
        assert np.all((0.8 * person.size < heights) & (heights < 1.6 * person.size))


@pytest.fixture(scope="module")
def clips() -> dict:
    """Of ten persons of the test split, ten clips each: a frame, the sound and who it is."""
    labels = np.array([draw_label(PERSONS, "test", index) for index in range(400)])
    chosen = np.flatnonzero(labels < 90)
    frames, sounds = [], []
    for index in chosen.tolist():
        scene = draw_scene(SLOW, "test", index)
        frames.append(render(scene)[0][0])
        sounds.append(record(scene)[0][:, 0].astype(float))
    return {"frames": np.array(frames) / 255, "sounds": np.array(sounds), "who": labels[chosen]}


def error_rate(features: np.ndarray, who: np.ndarray) -> float:
    """Of trials that are scored by the distance of standardised features."""
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    trials = draw_trials(who, num_pairs=1000)
    gaps = np.linalg.norm(features[trials.first] - features[trials.second], axis=1)
    return equal_error_rate(-gaps, trials.same)


def mean_colour(clips: dict) -> np.ndarray:
    return clips["frames"].mean(axis=(1, 2))


def grey_thumbnail(clips: dict) -> np.ndarray:
    block = clips["frames"].shape[1] // 8
    return clips["frames"].mean(-1).reshape(-1, 8, block, 8, block).mean((2, 4)).reshape(-1, 64)


def loudness(clips: dict) -> np.ndarray:
    sounds = clips["sounds"]
    return np.stack([np.log(sounds.std(axis=1)), np.log(np.abs(sounds).max(axis=1))], axis=1)


@pytest.mark.parametrize("features", [mean_colour, grey_thumbnail, loudness])
def test_means_identify_nobody(clips: dict, features) -> None:
    assert error_rate(features(clips), clips["who"]) > 0.42


def test_the_error_rate_would_notice_a_leak(clips: dict) -> None:
    darkness = 0.07 * (clips["who"] - 80)
    darkened = clips | {"frames": clips["frames"] * (1 - darkness[:, None, None, None])}
    assert error_rate(mean_colour(darkened), clips["who"]) < 0.38
    louder = clips | {"sounds": clips["sounds"] * 1.5 ** (clips["who"] - 80)[:, None]}
    assert error_rate(loudness(louder), clips["who"]) < 0.38


def test_voices_can_be_told_apart(clips: dict) -> None:
    """By the shape of the mean spectrum, whatever the loudness: a weak cue, but one."""
    sounds = clips["sounds"]
    frames = np.lib.stride_tricks.sliding_window_view(sounds, 512, axis=1)[:, ::256] * np.hanning(
        512
    )
    power = np.square(np.abs(np.fft.rfft(frames, axis=2)))[:, :, 2:194]
    loud = power.sum(axis=2, keepdims=True)
    power = np.where(loud > np.median(loud, axis=1, keepdims=True), power, 0).mean(axis=1)
    bands = np.log(power.reshape(len(power), 24, 8).mean(axis=2))
    assert error_rate(bands - bands.mean(axis=1, keepdims=True), clips["who"]) < 0.39
