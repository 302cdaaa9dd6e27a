"""All round: pictures and ambisonics tell of the same directions, those of the truth."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from avssl.media.decode import decode_clip
from avssl.media.encode import encode_clip
from avssl.media.probe import probe
from avssl.world.arrange import in_halves, on_sphere
from avssl.world.directions import from_window
from avssl.world.generate import describe, generate_clip
from avssl.world.panorama import render_around, window_size
from avssl.world.registry import WORLDS, World
from avssl.world.scene import Background, Room, Scene, draw_scene
from avssl.world.sound import mix, record
from avssl.world.things import Thing
from tests.world.rendering import render

WORLD = WORLDS["sphere"]
DRY = Room(reverb_seconds=0.1, reverb_level=0.0, noise_level=0.0)


def plain(level: float) -> Background:
    grey = np.full((2, 2, 3), level)
    return Background(colours=grey, patches=0 * grey, horizon=2.0, floor_colour=grey[0, 0])


def lone(index: int, **changes) -> Scene:
    """One sounding object, over black, in a room that adds nothing."""
    scene = draw_scene(WORLD, "train", index)
    thing = dataclasses.replace(scene.things[0], **changes)
    return dataclasses.replace(scene, things=(thing,), room=DRY, background=plain(0))


def turned(scene: Scene, phi: float) -> Scene:
    things = [
        dataclasses.replace(thing, heading=(thing.heading[0] + phi, thing.heading[1]))
        for thing in scene.things
        if thing.heading is not None
    ]
    return dataclasses.replace(scene, things=tuple(things))


def decoded_sound(media: bytes) -> np.ndarray:
    clip = decode_clip(
        media, start_seconds=0, num_frames=0, fps=WORLD.fps, short_side=None,
        audio_seconds=WORLD.seconds, audio_rate=WORLD.audio_rate, audio_channels=4,
    )  # fmt: skip
    assert clip.audio is not None
    return clip.audio.astype(float)


def unit(direction: np.ndarray) -> np.ndarray:
    """(X, Y, Z) of (phi, nu), as AVSA has them."""
    phi, nu = np.moveaxis(np.asarray(direction), -1, 0)
    return np.stack([np.cos(nu) * np.cos(phi), np.cos(nu) * np.sin(phi), np.sin(nu)], axis=-1)


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    return math.degrees(math.acos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def test_four_channels_survive_the_file_in_order_sign_and_phase() -> None:
    clip = generate_clip(WORLD, "test", 0)
    frames, audio = clip.pictures[""], clip.audio
    media = encode_clip(frames, WORLD.fps, audio, WORLD.audio_rate)
    found = probe(media)
    assert (found.width, found.height, found.audio_channels) == (2 * WORLD.size, WORLD.size, 4)
    heard = decoded_sound(media)
    for channel in range(4):
        assert np.corrcoef(heard[:, channel], audio[:, channel])[0, 1] > 0.95
    np.testing.assert_allclose(np.corrcoef(heard.T), np.corrcoef(audio.T), atol=0.03)


@pytest.mark.parametrize("index", range(WORLD.num_classes))
def test_the_file_sounds_from_where_the_truth_says(index: int) -> None:
    scene = lone(index)
    audio, heard = record(scene)
    (thing,) = describe(scene, [None], heard)["objects"]
    sound = decoded_sound(encode_clip(None, 1, audio, WORLD.audio_rate))
    for onset in thing["onsets_seconds"]:
        part = sound[round(onset * WORLD.audio_rate) :][: WORLD.audio_rate // 10]
        w, y, z, x = (part * part[:, :1]).sum(axis=0)
        frame = min(round((onset + 0.03) * WORLD.fps), WORLD.num_frames - 1)
        truth = unit(thing["direction_radians"][frame])
        assert degrees_between(np.array([x, y, z]), truth) < 8  # it moves by as much in a frame
        assert np.hypot(np.hypot(x, y), z) == pytest.approx(w, rel=0.02)


def test_a_resting_object_is_heard_within_a_degree() -> None:
    for index, (phi, nu) in enumerate([(0.0, 0.0), (1.2, 0.3), (-2.8, -0.3), (math.pi, 0.1)]):
        scene = lone(index, heading=(phi, nu))
        stage = dataclasses.replace(scene.things[0].stage, reach=1e-6)
        still = dataclasses.replace(scene.things[0], stage=stage)
        audio, _ = record(dataclasses.replace(scene, things=(still,)))
        sound = decoded_sound(encode_clip(None, 1, audio, WORLD.audio_rate))
        _, y, z, x = (sound * sound[:, :1]).sum(axis=0)
        assert degrees_between(np.array([x, y, z]), unit(np.array([phi, nu]))) < 1


def test_moving_sound_is_placed_at_each_moment() -> None:
    scene = next(s for s in map(lone, range(20)) if s.things[0].kind.motion == "pendulum")
    (thing,) = scene.things
    channels, heard = mix(scene)
    truth = unit(describe(scene, [None], heard)["objects"][0]["direction_radians"])
    assert degrees_between(truth.min(axis=0), truth.max(axis=0)) > 2
    for frame in np.flatnonzero(thing.hits(9)[0].min() + 0.05 < scene.frame_seconds):
        w, y, z, x = channels[:, round(frame / WORLD.fps * WORLD.audio_rate)]
        np.testing.assert_allclose([x, y, z], w * truth[frame], atol=1e-3 * abs(w) + 1e-7)


def test_loud_scenes_keep_their_directions() -> None:
    loud = lone(2, loudness=50.0)
    audio, _ = record(loud)
    channels, _ = mix(loud)
    assert 0.94 < np.abs(audio).max() / 32767 < 0.96
    np.testing.assert_allclose(audio.T * (channels.max() / audio.max()), channels, atol=2e-3)


@pytest.mark.parametrize("index", range(WORLD.num_classes))
def test_boxes_and_directions_fit_the_picture(index: int) -> None:
    """What covers black and white alike is the object; a third of a turn brings some to the seam."""
    scene = turned(lone(index), index * 2 * math.pi / 3)
    over_black, (boxes,) = render_around(scene)
    over_white, _ = render_around(dataclasses.replace(scene, background=plain(255)))
    assert boxes is not None
    assert (boxes[:, 0] >= 0).all()
    assert (boxes[:, 0] < 1).all()
    (thing,) = describe(scene, [boxes], [])["objects"]
    opaque = (over_white.astype(int) - over_black).mean(-1) < 128
    for shown, box, (phi, nu) in zip(opaque, boxes, thing["direction_radians"], strict=True):
        x, y = (1 - phi / math.pi) / 2, (1 - 2 * nu / math.pi) / 2
        assert box[0] < x + (x < box[0]) < box[2]
        assert box[1] < y < box[3]
        shift = round(box[0] * WORLD.width) - 20
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(np.roll(shown, -shift).any(0))
        found = np.array([columns[0] + shift, rows[0], columns[-1] + 1 + shift, rows[-1] + 1])
        wanted = box * np.tile([WORLD.width, WORLD.size], 2)
        np.testing.assert_allclose(found, wanted, atol=2.5)


def shape_in_window(scene: Scene, thing: Thing, side: int) -> np.ndarray:
    """Where the object shows through its own window, bool [n, side, side]."""
    black, _ = render_around(scene)
    white, _ = render_around(dataclasses.replace(scene, background=plain(255)))
    opaque = (white.astype(int) - black).mean(-1) < 128
    line = (np.arange(side) + 0.5) / side
    assert thing.heading is not None
    x, y, z = np.moveaxis(from_window(thing.heading, *np.meshgrid(line, line)), -1, 0)
    columns = (1 - np.arctan2(y, x) / math.pi) / 2 * WORLD.width
    rows = (1 - 2 * np.arcsin(z) / math.pi) / 2 * WORLD.size
    return opaque[:, rows.astype(int), columns.astype(int) % WORLD.width]


@pytest.mark.parametrize("index", [0, 2, 5])
def test_seen_straight_on_an_object_looks_as_in_a_flat_picture(index: int) -> None:
    scene = lone(index)
    (thing,) = scene.things
    side = window_size(WORLD.width) + 1
    seen = shape_in_window(scene, thing, side)
    flat = dataclasses.replace(WORLD, projection="flat", size=side)
    straight = dataclasses.replace(
        scene, world=flat, things=(dataclasses.replace(thing, heading=None),)
    )
    black, _ = render(straight)
    white, _ = render(dataclasses.replace(straight, background=plain(255)))
    drawn = (white.astype(int) - black).mean(-1) < 128
    assert (seen & drawn).sum() / (seen | drawn).sum() > 0.9


def test_the_picture_has_no_seam() -> None:
    scene = dataclasses.replace(draw_scene(WORLD, "test", 4), background=plain(90))
    frames, _ = render_around(scene)
    for columns in (37, 128):
        other, _ = render_around(turned(scene, -2 * math.pi * columns / WORLD.width))
        differs = np.abs(np.roll(frames, columns, axis=2).astype(int) - other).max(-1) > 3
        assert differs.mean() < 1e-4  # rounding may choose the next point of a sprite
    empty = dataclasses.replace(draw_scene(WORLD, "test", 4), things=())
    frame = render_around(empty)[0][0].astype(int)
    across = np.abs(frame[:, 0] - frame[:, -1]).mean()
    assert across < 1.5 * np.abs(np.diff(frame, axis=1)).mean(axis=(0, 2)).max()


def test_objects_are_apart_and_near_the_horizon() -> None:
    places, counts = [], set()
    for index in range(60):
        scene = draw_scene(WORLD, "train", index)
        counts.add(sum(thing.event_seconds is not None for thing in scene.things))
        headings = np.array([thing.heading for thing in scene.things])
        for one, other in itertools.combinations(headings[:, 0], 2):
            assert abs(math.remainder(one - other, 2 * math.pi)) > math.radians(79.9)
        for thing in describe(scene, [None] * len(scene.things), [])["objects"]:
            phi, nu = np.array(thing["direction_radians"]).T
            assert np.abs(np.degrees(nu)).max() < 34
            np.testing.assert_allclose(
                np.degrees(phi), -np.array(thing["azimuth_degrees"]), atol=0.02
            )
        places.append(headings[0])
    assert counts == {2, 3}
    phi, nu = np.array(places).T
    assert np.histogram(phi, 4, (-math.pi, math.pi))[0].min() > 5
    assert np.degrees(nu).std() > 8


@pytest.mark.parametrize("arrange", [on_sphere, in_halves])
def test_places_know_nothing_of_the_class(arrange) -> None:
    things = list(draw_scene(WORLD, "train", 0).things[:2])
    others = [dataclasses.replace(thing, class_index=7) for thing in things]
    for one, other in zip(
        arrange(np.random.default_rng(1), things),
        arrange(np.random.default_rng(1), others),
        strict=True,
    ):
        assert (one.heading, one.span, one.stage) == (other.heading, other.span, other.stage)
        assert one.loudness == other.loudness


def test_what_a_sphere_cannot_have_is_refused() -> None:
    for change in ({"off_screen_rate": 0.1}, {"music_rate": 0.1}):
        with pytest.raises(ValueError, match="nothing beside it"):
            dataclasses.replace(WORLD, **change)
    with pytest.raises(ValueError, match="room for 4 objects"):
        World("ball", projection="sphere", num_sounding=(4, 4))
    with pytest.raises(ValueError, match="projection must be one of"):
        World("ball", projection="cube")
