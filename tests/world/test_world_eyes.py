"""Other eyes see the same scene at the same times, and weather hurts RGB alone."""

import collections
import dataclasses

import numpy as np
import pytest

from avssl.media.decode import decode_frames, decode_video
from avssl.media.probe import probe
from avssl.world.generate import generate, generate_clip
from avssl.world.registry import EYES, WORLDS, World
from avssl.world.render import render_eyes
from avssl.world.scene import WEATHER, draw_scene, stream
from avssl.world.weather import draw_weather

TINY = WORLDS["tiny_eyes"]
ALONE = dataclasses.replace(
    WORLDS["eyes"], num_sounding=(1, 1), silent_rate=0.0, night_rate=0.0, fog_rate=0.0, fps=8
)


def box_of(shown: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 in shares of the frame, of where a picture is true."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    ends = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return ends / len(shown)


@pytest.mark.parametrize("index", range(4))
def test_all_eyes_see_the_boxes_of_the_truth(index: int) -> None:
    scene = draw_scene(ALONE, "train", index)
    pictures, (boxes,) = render_eyes(scene)
    without, _ = render_eyes(dataclasses.replace(scene, things=()))
    assert set(pictures) == {"", *EYES}
    assert boxes is not None
    for eye in EYES:
        assert pictures[eye].shape == pictures[""].shape
        difference = np.abs(pictures[eye].astype(int) - without[eye])[..., 0]
        for shown, box in zip(difference, boxes, strict=True):
            # Where the floor is as near as the object, depth tells them apart by little.
            found = box_of(shown > 0.3 * shown.max())
            np.testing.assert_allclose(found, box, atol=0.16 if eye == "depth" else 3 / ALONE.size)


def test_a_file_holds_all_eyes_frame_for_frame() -> None:
    media, truth = generate(TINY, "train", 1)
    clip = generate_clip(TINY, "train", 1)
    assert probe(media).video_streams == EYES
    for eye, drawn in clip.pictures.items():
        found = decode_frames(media, start_seconds=0, end_seconds=9, stream=eye)
        assert found.pixels.shape == drawn.shape
        np.testing.assert_allclose(found.times, np.arange(len(drawn)) / TINY.fps, atol=1e-9)
        assert np.abs(found.pixels.astype(int) - drawn).mean() < 8
    late = decode_video(media, start_seconds=1.0, num_frames=1, fps=TINY.fps, stream="thermal")[0]
    warm = late[..., 0] > 0.55 * 255
    (thing,) = [one for one in truth["objects"] if one["sounding"]]
    np.testing.assert_allclose(box_of(warm), thing["boxes"][TINY.fps], atol=2.5 / TINY.size)


def test_what_sounds_is_warm_and_what_is_near_is_bright() -> None:
    scene = draw_scene(ALONE, "test", 3)
    thing = dataclasses.replace(scene.things[0], event_seconds=None)
    brightness = collections.defaultdict(list)
    for sounding, distance in ((True, 1.0), (False, 1.0), (False, 3.0)):
        clock = scene.things[0].event_seconds if sounding else None
        one = dataclasses.replace(thing, event_seconds=clock, distance_metres=distance)
        pictures, (boxes,) = render_eyes(dataclasses.replace(scene, things=(one,)))
        assert boxes is not None
        (x0, y0, x1, y1) = np.round(boxes[0] * ALONE.size).astype(int)
        for eye in EYES:
            brightness[eye].append(np.median(pictures[eye][0, y0:y1, x0:x1]))
    assert brightness["thermal"][0] > brightness["thermal"][1] + 40
    assert brightness["depth"][1] > brightness["depth"][2] + 40


@pytest.mark.parametrize("kind", ["night", "fog"])
def test_weather_hurts_rgb_alone(kind: str) -> None:
    harsh = dataclasses.replace(ALONE, **{f"{kind}_rate": 1.0})
    for index in range(3):
        clear, hurt = (generate_clip(world, "train", index) for world in (ALONE, harsh))
        assert hurt.truth == {**clear.truth, "weather": kind}
        np.testing.assert_array_equal(clear.audio, hurt.audio)
        for eye in EYES:
            np.testing.assert_array_equal(clear.pictures[eye], hurt.pictures[eye])
        contrast = [one.pictures[""].astype(float).std(axis=(1, 2)).mean() for one in (clear, hurt)]
        assert contrast[1] < (0.15 if kind == "night" else 0.8) * contrast[0]


def test_weather_comes_at_its_rates() -> None:
    world = WORLDS["eyes"]
    drawn = [draw_weather(world, stream(world, "train", index, WEATHER)) for index in range(800)]
    counts = collections.Counter("" if weather is None else weather.kind for weather in drawn)
    for kind in ("night", "fog"):
        rate = getattr(world, f"{kind}_rate")
        assert counts[kind] / 800 == pytest.approx(rate, abs=4 * (rate * (1 - rate) / 800) ** 0.5)


def test_what_no_eye_can_see_is_refused() -> None:
    with pytest.raises(ValueError, match="eyes must be among"):
        World("x-ray", eyes=("xray",))
    with pytest.raises(ValueError, match="a sphere has one eye"):
        World("ball", projection="sphere", object_size=(0.3, 0.4), eyes=("depth",))
    with pytest.raises(ValueError, match="more than 1"):
        World("dim", night_rate=0.6, fog_rate=0.6)
    with pytest.raises(ValueError, match="plays in a flat picture"):
        World("fleet", cast="vehicles", num_classes=3, off_screen_rate=0.1)
    with pytest.raises(ValueError, match="cast must be one of"):
        World("zoo", cast="animals")
    with pytest.raises(ValueError, match="all persons talk equally often"):
        World("none", cast="persons", num_identities=8, num_test_identities=4, class_ratio=2.0)
    with pytest.raises(ValueError, match="two identities"):
        World("lonely", cast="persons", num_identities=3, num_test_identities=2)
    with pytest.raises(ValueError, match="music needs 2"):
        World("deaf", ears=1, music_rate=0.5)
