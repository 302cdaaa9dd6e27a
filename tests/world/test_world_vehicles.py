"""Vehicles are heard from where they are seen, before and after as well; parked ones are silent."""

import dataclasses
import math

import numpy as np
import pytest

from avssl.data.truth import frame_times, objects_at, sounding_boxes
from avssl.world.engines import ENGINES, engine
from avssl.world.generate import generate_clip
from avssl.world.passing import Vehicle
from avssl.world.registry import WORLDS
from avssl.world.render import render_eyes
from avssl.world.scene import Room, Scene, draw_scene
from avssl.world.sound import ear_delays, ear_gains, mix

WORLD = WORLDS["vehicles"]
RATE = WORLD.audio_rate


def alone(index: int, **changes) -> Scene:
    scene = draw_scene(WORLD, "train", index)
    vehicle = dataclasses.replace(scene.things[0], **changes)
    room = Room(reverb_seconds=0.1, reverb_level=0.0, noise_level=0.0)
    return dataclasses.replace(scene, things=(vehicle,), room=room, weather=None)


def creeping(index: int, azimuth_degrees: float, lane_metres: float) -> np.ndarray:
    """What is heard of a vehicle that hardly moves, in a direction."""
    aside = lane_metres * math.tan(math.radians(azimuth_degrees))
    scene = alone(index, start_metres=aside, metres_per_second=1e-6, distance_metres=lane_metres)
    return mix(scene)[0]


@pytest.mark.parametrize("azimuth_degrees", [-60, 25])
def test_level_and_time_differences_follow_the_azimuth(azimuth_degrees: float) -> None:
    left, right = creeping(1, azimuth_degrees, 5.0)
    gains = ear_gains(math.radians(azimuth_degrees))
    ratio = np.sqrt(np.square(right).sum() / np.square(left).sum())
    assert ratio == pytest.approx(gains[1] / gains[0], rel=0.03)
    size = 2 * len(left)
    spectrum = np.fft.rfft(left, size) * np.conj(np.fft.rfft(right, size))
    correlation = np.fft.irfft(spectrum / np.maximum(np.abs(spectrum), 1e-9), size)
    lag = (np.argmax(np.roll(correlation, 40)[:81]) - 40) / RATE
    delays = ear_delays(math.radians(azimuth_degrees))
    assert lag == pytest.approx(delays[0] - delays[1], abs=1.5 / RATE)


def test_level_falls_with_the_distance() -> None:
    near, far = (np.sqrt(np.square(creeping(2, 10, metres)).mean()) for metres in (4.0, 12.0))
    assert near / far == pytest.approx(3, rel=0.02)


def test_a_passing_vehicle_is_loudest_in_the_middle_and_heard_beyond_the_picture() -> None:
    scene = alone(3, start_metres=-12.0, metres_per_second=8.0, distance_metres=4.0)
    (vehicle,) = scene.things
    left, right = (np.square(ear).reshape(30, -1).mean(1) for ear in mix(scene)[0])
    assert 14 <= np.argmax(left + right) <= 16
    # The energy goes from the left ear to the right one, by 12 dB at the sides.
    assert 10 * np.log10(left[0] / right[0]) > 8
    assert 10 * np.log10(right[-1] / left[-1]) > 8
    (boxes,) = render_eyes(scene)[1]
    assert boxes is not None
    seen = ~np.isnan(boxes[:, 0])
    middle = vehicle.path(scene.frame_seconds).x
    assert seen[np.abs(middle - 0.5) < 0.4].all()
    assert not seen[np.abs(middle - 0.5) > 1.0].any()
    assert not seen[[0, -1]].any()
    middles = (boxes[:, 0] + boxes[:, 2])[seen] / 2
    assert np.all(np.diff(middles) > 0)


def test_boxes_fit_what_is_seen() -> None:
    """Of all five classes, in the warmth, where nothing else is."""
    for class_index in range(WORLD.num_classes):
        scene = alone(0, class_index=class_index, start_metres=0.0, metres_per_second=0.01)
        pictures, (boxes,) = render_eyes(scene)
        assert boxes is not None
        shown = pictures["thermal"][0, ..., 0] > 140
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        np.testing.assert_allclose(found, boxes[0] * WORLD.size, atol=2)


def test_the_mono_twin_shows_the_same_and_hears_no_directions() -> None:
    stereo, mono = (
        generate_clip(WORLDS[name], "test", 5) for name in ("tiny_vehicles", "tiny_vehicles_mono")
    )
    for eye in stereo.pictures:
        np.testing.assert_array_equal(stereo.pictures[eye], mono.pictures[eye])
    assert mono.truth == {**stereo.truth, "world": "tiny_vehicles_mono"}
    assert (stereo.audio.shape[1], mono.audio.shape[1]) == (2, 1)
    mirrored = [
        mix(dataclasses.replace(s, world=dataclasses.replace(s.world, ears=1)))[0]
        for s in (
            alone(4, start_metres=side * 5.0, metres_per_second=-side * 6.0) for side in (-1, 1)
        )
    ]
    np.testing.assert_array_equal(*mirrored)


def test_scenes_have_several_vehicles_and_parked_ones_that_are_not_heard() -> None:
    counts, classes = set(), set()
    for index in range(30):
        scene = draw_scene(WORLD, "train", index)
        moving = [thing for thing in scene.things if thing.sounds]
        assert all(isinstance(thing, Vehicle) for thing in scene.things)
        assert scene.things[0].class_index == scene.label
        assert scene.things[0].sounds
        counts.add((len(moving), len(scene.things) - len(moving)))
        classes |= {thing.class_index for thing in scene.things}
        lanes = [thing.distance_metres for thing in scene.things]
        assert len(set(lanes)) == len(lanes)
    assert classes == set(range(WORLD.num_classes))
    assert {moving for moving, _ in counts} == {1, 2, 3}
    assert {parked for _, parked in counts} == {0, 1, 2}


def test_the_truth_says_what_is_in_the_picture_when() -> None:
    truth = generate_clip(WORLDS["tiny_vehicles"], "train", 2).truth
    frames = [objects_at(truth, k / truth["fps"]) for k in range(12)]
    for k, frame in enumerate(frames):
        listed = [o["boxes"][k] for o in truth["objects"] if o["boxes"][k] is not None]
        np.testing.assert_array_equal(frame.boxes, listed)
    assert len({len(frame) for frame in frames}) > 1
    heard = [thing for thing in truth["objects"] if thing["sounding"]]
    ever = [thing for thing in heard if any(box is not None for box in thing["boxes"])]
    assert len(sounding_boxes(truth, frame_times(truth))) == len(ever)
    still, moving = (len(objects_at(truth, 0.5, sounding=is_heard)) for is_heard in (False, True))
    assert moving == len(sounding_boxes(truth, [0.5]))
    assert still + moving == len(objects_at(truth, 0.5))


@pytest.mark.parametrize("timbre", sorted(ENGINES))
def test_engines_run_evenly_and_are_equally_loud(timbre: str) -> None:
    wave = engine(timbre, 1.1, 2.0, 16000, seed=0)
    assert np.isfinite(wave).all()
    level = np.sqrt(np.square(wave[:31744]).reshape(4, -1).mean(axis=1))
    np.testing.assert_allclose(level, 1, atol=0.15)
