"""One clip of a world as a file, and the truth about it."""

import dataclasses
import math
from typing import Any

import numpy as np

from avssl.media.encode import encode_clip
from avssl.world.directions import angles, directions
from avssl.world.panorama import render_around
from avssl.world.passing import Vehicle
from avssl.world.persons import Person
from avssl.world.registry import World
from avssl.world.render import render_eyes
from avssl.world.scene import FAULTS, Scene, draw_scene
from avssl.world.sound import heard_scene, record
from avssl.world.things import Thing

GOP_FRAMES = 16


@dataclasses.dataclass(frozen=True)
class Clip:
    """Before it is encoded: frames uint8 [n, h, w, 3] by the eye ("": RGB), audio int16 [m, c]."""

    pictures: dict[str, np.ndarray]
    audio: np.ndarray
    truth: dict[str, Any]


def generate(world: World, split: str, index: int) -> tuple[bytes, dict[str, Any]]:
    """An mp4 file (H.264, AAC) and its truth: a pure function of the arguments."""
    clip = generate_clip(world, split, index)
    others = dict(clip.pictures)
    frames = others.pop("")
    media = encode_clip(
        frames, world.fps, clip.audio, world.audio_rate, gop=GOP_FRAMES, streams=others
    )
    return media, clip.truth


def generate_clip(world: World, split: str, index: int) -> Clip:
    scene = draw_scene(world, split, index)
    if world.projection == "sphere":
        frames, boxes = render_around(scene)
        pictures = {"": frames}
    else:
        pictures, boxes = render_eyes(scene)
    audio, heard = record(scene)
    return Clip(pictures, audio, describe(scene, boxes, heard))


def listed(box: np.ndarray) -> list[float] | None:
    return None if np.isnan(box).any() else box.tolist()


def describe(scene: Scene, boxes: list[np.ndarray | None], heard: list[Thing]) -> dict[str, Any]:
    """The truth, as JSON takes it.

    Seconds count from the clip's start. Boxes are x0, y0, x1, y1 in shares of the frame, one per
    frame, null for an object beside the picture. Azimuths are degrees from the middle, positive to
    the right, one per frame. `labels` are the classes that are seen, `heard_labels` those in the
    audio track, `onsets_seconds` the onsets in it and `reverb_seconds` that of the room in it. An
    object's own `onsets_seconds` are the events that are seen; it is `sounding` if they are heard.

    On the sphere each object also has `direction_radians`, [phi, nu] in each frame as `directions`
    counts them (azimuth to the left, elevation upwards), and x1 of a box is above 1 where the box
    goes on at the frame's other edge.

    A vehicle's box is null in the frames that it is not in, and it has `distances_metres`, one per
    frame; its `distance_metres` is that of its lane. A person's class is the identity, and it has
    the `syllables` that begin at its onsets. Worlds with weather have `weather`: "", "night" or
    "fog".
    """
    world = scene.world
    seconds = world.seconds
    objects = []
    for thing, box in zip(scene.things, boxes, strict=True):
        path = thing.path(scene.frame_seconds)
        azimuths, where = thing.azimuths(path.x), {}
        if thing.heading is not None:
            phi, nu = angles(directions(thing, path))
            azimuths, where = -phi, {"direction_radians": np.stack([phi, nu], 1).round(4).tolist()}
        if isinstance(thing, Vehicle):
            metres = np.hypot(thing.metres_aside(scene.frame_seconds), thing.distance_metres)
            where = {"distances_metres": metres.round(3).tolist()}
        if isinstance(thing, Person):
            where = {"syllables": [thing.words[number] for number in thing.said(seconds)]}
        objects.append(
            where
            | {
                "class": thing.class_index,
                "class_name": thing.kind.name,
                "sounding": any(thing is other for other in heard),
                "visible": thing.visible,
                "boxes": None if box is None else [listed(one) for one in np.round(box, 4)],
                "azimuth_degrees": [round(math.degrees(azimuth), 2) for azimuth in azimuths],
                "distance_metres": round(thing.distance_metres, 3),
                "onsets_seconds": np.round(thing.hits(seconds)[0], 5).tolist(),
            }
        )
    onsets = [thing.hits(seconds)[0] for thing in heard]
    weather = {}
    if world.night_rate or world.fog_rate:
        weather = {"weather": "" if scene.weather is None else scene.weather.kind}
    return weather | {
        "world": world.name,
        "split": scene.split,
        "index": scene.index,
        "fps": world.fps,
        "label": scene.label,
        "labels": sorted({thing.class_index for thing in scene.things if thing.visible}),
        "heard_labels": sorted({thing.class_index for thing in heard}),
        "objects": objects,
        "onsets_seconds": np.round(np.sort(np.concatenate([*onsets, []])), 5).tolist(),
        "reverb_seconds": round(heard_scene(scene).room.reverb_seconds, 3),
        "faults": {name: scene.fault == name for name in FAULTS},
        "audio_from_index": scene.index if scene.swapped_index is None else scene.swapped_index,
    }
