"""Sound starts at the onsets, comes from where its object is, and faults do what they say."""

import dataclasses
import math

import numpy as np
import pytest

from avssl.world.registry import WORLDS
from avssl.world.scene import Room, Scene, draw_clean_scene, draw_scene
from avssl.world.sound import LEVEL, ear_delays, mix, record
from avssl.world.things import Thing
from avssl.world.timbre import TIMBRES, note

WORLD = dataclasses.replace(WORLDS["quickstart"], silent_rate=0.0)
RATE = WORLD.audio_rate
DRY = Room(reverb_seconds=0.1, reverb_level=0.0, noise_level=0.0)


def dry_scene(index: int, **changes) -> Scene:
    """One object in a room that adds nothing."""
    scene = draw_clean_scene(WORLD, "train", index)
    thing = dataclasses.replace(scene.things[0], **changes)
    return dataclasses.replace(scene, things=(thing,), room=DRY)


def beside(azimuth_degrees: float) -> dict:
    return {"visible": False, "azimuth": math.radians(azimuth_degrees)}


@pytest.mark.parametrize("index", range(WORLD.num_classes))
def test_each_onset_is_heard_to_the_millisecond(index: int) -> None:
    """The first ten clips hold each class once."""
    drawn = dry_scene(index).things[0]
    onset = drawn.hits(WORLD.seconds)[0][1]
    alone = np.array([onset - 10, onset, onset + 10])
    ears, heard = mix(dry_scene(index, event_seconds=alone, strengths=np.ones(3)))
    assert heard
    level = np.abs(ears).max(axis=0)
    before, start = level[: int(onset * RATE)], int(onset * RATE)
    assert before.max() == 0
    # Soft attacks need some milliseconds to become loud; they begin with the event all the same.
    assert level[start : start + RATE // 1000 + 1].max() > 0
    assert level[start : start + RATE // 20].max() > 0.3 * level.max()


def test_no_sound_before_the_first_onset_and_none_from_silent_objects() -> None:
    scene = dry_scene(4)
    ears, _ = mix(scene)
    first = scene.things[0].hits(WORLD.seconds)[0][0]
    assert np.abs(ears[:, : int(first * RATE)]).sum() == 0
    assert np.abs(ears).max() > 0
    silent = dataclasses.replace(scene.things[0], event_seconds=None)
    ears, heard = mix(dataclasses.replace(scene, things=(silent,)))
    assert heard == []
    assert np.abs(ears).max() == 0


@pytest.mark.parametrize("azimuth_degrees", [-75, -30, 30, 75])
def test_the_near_ear_hears_it_louder_and_earlier(azimuth_degrees: float) -> None:
    left, right = mix(dry_scene(2, **beside(azimuth_degrees)))[0]
    near, far = (right, left) if azimuth_degrees > 0 else (left, right)
    decibels = 10 * np.log10(np.square(near).sum() / np.square(far).sum())
    expected = 12 * math.sin(math.radians(abs(azimuth_degrees)))
    assert decibels == pytest.approx(expected, abs=1.0)
    size = 2 * len(near)
    spectrum = np.fft.rfft(far, size) * np.conj(np.fft.rfft(near, size))
    lag = np.argmax(np.fft.irfft(spectrum, size)[:100]) / RATE
    wanted = sum(ear_delays(math.radians(azimuth_degrees)))
    assert lag == pytest.approx(wanted, abs=1 / RATE)
    assert 0.0002 < wanted < 0.0008


def test_in_front_both_ears_agree() -> None:
    left, right = mix(dry_scene(2, **beside(0)))[0]
    np.testing.assert_array_equal(left, right)


def test_level_falls_with_distance() -> None:
    near = np.abs(mix(dry_scene(1, distance_metres=1.0, **beside(10)))[0]).max()
    far = np.abs(mix(dry_scene(1, distance_metres=3.0, **beside(10)))[0]).max()
    assert near / far == pytest.approx(3, rel=1e-3)


def test_seen_objects_are_heard_from_where_they_are() -> None:
    thing = dry_scene(0).things[0]
    left, middle, right = (float(a) for a in thing.azimuths(np.array([0.0, 0.5, 1.0])))
    assert (left, middle, right) == pytest.approx((-math.pi / 4, 0, math.pi / 4))


def test_the_room_rings_on() -> None:
    scene = dry_scene(0)
    first = scene.things[0].hits(WORLD.seconds)[0][:1]
    lone = Room(reverb_seconds=0.6, reverb_level=0.4, noise_level=0.0)
    thing = dataclasses.replace(
        scene.things[0], event_seconds=np.array([first[0], first[0] + 9]), strengths=np.ones(2)
    )
    dry, _ = mix(dataclasses.replace(scene, things=(thing,)))
    wet, _ = mix(dataclasses.replace(scene, things=(thing,), room=lone))
    assert np.square(wet).sum() > 1.02 * np.square(dry).sum()
    assert not np.array_equal(wet[0] - dry[0], wet[1] - dry[1])
    before = slice(0, int(first[0] * RATE) - 1)
    assert np.abs(wet[:, before]).max() < 1e-5


@pytest.mark.parametrize("timbre", sorted(TIMBRES))
@pytest.mark.parametrize("rate", [16000, 24000])
def test_notes_have_equal_energy_and_end_quietly(timbre: str, rate: int) -> None:
    wave = note(timbre, 1.3, rate, np.random.default_rng(0))
    assert np.isfinite(wave).all()
    assert np.square(wave).sum() == pytest.approx(0.15 * rate, rel=1e-3)
    tail = wave[-rate // 100 :]
    assert np.abs(tail).max() < 0.06 * np.abs(wave).max()


def test_levels_fit_into_int16() -> None:
    loudest = [
        np.abs(record(draw_scene(WORLD, "train", i))[0].astype(int)).max() for i in range(30)
    ]
    assert max(loudest) <= 32767
    assert min(loudest) > 300
    assert np.median(loudest) < 30000
    assert LEVEL < 1


def faulty_scene(index: int, **rates: float) -> Scene:
    return draw_scene(dataclasses.replace(WORLD, **rates), "train", index)


def heard_classes(heard: list[Thing]) -> set[int]:
    return {thing.class_index for thing in heard}


def test_swapped_audio_is_the_other_clips() -> None:
    scene = faulty_scene(5, swapped_rate=1.0)
    assert scene.swapped_index is not None
    audio, heard = record(scene)
    other, _ = record(draw_clean_scene(WORLD, "train", scene.swapped_index))
    np.testing.assert_array_equal(audio, other)
    assert scene.label not in heard_classes(heard)


def test_silence_leaves_only_the_noise_of_the_room() -> None:
    scene = faulty_scene(5, silence_rate=1.0)
    audio, heard = record(scene)
    assert heard == []
    assert np.abs(audio).max() < 6 * 32767 * scene.room.noise_level


def test_music_comes_over_the_top() -> None:
    clean, with_music = draw_clean_scene(WORLD, "train", 5), faulty_scene(5, music_rate=1.0)
    before, heard_before = mix(clean)
    after, heard = mix(with_music)
    assert heard_classes(heard) == heard_classes(heard_before) == {clean.label}
    music = after - before
    assert 0.01 < np.sqrt(np.square(music).mean()) < 0.3
    assert np.abs(music).max(axis=1).min() > 0.02


def test_off_screen_sound_comes_from_beside_the_picture() -> None:
    scene = faulty_scene(5, off_screen_rate=1.0)
    _, heard = record(scene)
    (source,) = heard
    assert not source.visible
    assert source.class_index != scene.label
    assert math.pi / 4 < abs(source.azimuth) <= math.pi / 2
    assert all(thing.event_seconds is None for thing in scene.things if thing.visible)
