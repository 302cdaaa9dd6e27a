"""What happens in a clip: a pure function of (world, split, index).

The class of an object is drawn apart from everything else about it. Draws of one purpose come from
one stream, so that a fault changes nothing but what it is said to change.
"""

import dataclasses
import math

import numpy as np

from avssl.world.classes import KINDS, Kind
from avssl.world.motion import Path, Stage, silent_path, sounding_path
from avssl.world.registry import SPLITS, World

FAULTS = ("swapped", "music", "silence", "off_screen")

# Purposes of the streams: a number here must never be given to another purpose.
LABELS, SCENE, FAULT, SOURCE, SOUND = range(5)

FIELD_OF_VIEW = math.radians(90)


def stream(world: World, split: str, index: int, purpose: int) -> np.random.Generator:
    """Independent draws. The split is part of the seed: no train clip has a test clip's seed."""
    world.num_clips(split)  # refuses an unknown split
    key = (SPLITS.index(split), index, purpose)
    return np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=key))


@dataclasses.dataclass(frozen=True)
class Thing:
    """One object. `event_seconds` is its clock, past both ends of the clip; None: it drifts."""

    class_index: int
    size: float
    aspect: float
    density: float
    phase: float
    colours: np.ndarray
    stage: Stage
    drift_seconds: float
    event_seconds: np.ndarray | None
    strengths: np.ndarray
    visible: bool
    azimuth: float
    distance_metres: float
    pitch: float
    loudness: float
    seed: int

    @property
    def kind(self) -> Kind:
        return KINDS[self.class_index]

    def path(self, frame_seconds: np.ndarray) -> Path:
        """Where it is in each frame, moved as a whole so that most of it stays in the picture."""
        if self.event_seconds is None:
            path = silent_path(self.stage, frame_seconds, self.drift_seconds)
        else:
            path = sounding_path(self.kind.motion, self.stage, self.event_seconds, frame_seconds)
        margin = 0.45 * self.size
        for name in ("x", "y"):
            line = getattr(path, name)
            shift = max(0.0, margin - line.min()) - max(0.0, line.max() - (1 - margin))
            setattr(path, name, line + shift)
        return path

    def hits(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """(onset seconds, strength) of the events that fall into the clip."""
        if self.event_seconds is None:
            return np.zeros(0), np.zeros(0)
        inside = (self.event_seconds >= 0) & (self.event_seconds < seconds - 0.05)
        return self.event_seconds[inside], self.strengths[inside]

    def azimuths(self, x: np.ndarray) -> np.ndarray:
        """Radians, positive to the right, of the places `x` (shares of the picture's width)."""
        if not self.visible:
            return np.full(len(x), self.azimuth)
        return np.arctan((2 * x - 1) * math.tan(FIELD_OF_VIEW / 2))


@dataclasses.dataclass(frozen=True)
class Background:
    """Coarse colours (blended over the whole frame), finer patches, and a floor."""

    colours: np.ndarray
    patches: np.ndarray
    horizon: float
    floor_colour: np.ndarray


@dataclasses.dataclass(frozen=True)
class Room:
    reverb_seconds: float
    reverb_level: float
    noise_level: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """`fault` is one of FAULTS or None; `swapped_index` the clip whose audio is heard instead."""

    world: World
    split: str
    index: int
    label: int
    things: tuple[Thing, ...]
    background: Background
    room: Room
    fault: str | None = None
    swapped_index: int | None = None

    @property
    def frame_seconds(self) -> np.ndarray:
        return np.arange(self.world.num_frames) / self.world.fps


def draw_label(world: World, split: str, index: int) -> int:
    """Every run of `num_classes` clips holds each class once, in its own order."""
    block, place = divmod(index, world.num_classes)
    return int(stream(world, split, block, LABELS).permutation(world.num_classes)[place])


def draw_fault(world: World, split: str, index: int) -> tuple[str | None, int | None]:
    """The clip's fault, and for swapped audio the clip (of another class) that it comes from."""
    rng = stream(world, split, index, FAULT)
    rates = (world.swapped_rate, world.music_rate, world.silence_rate, world.off_screen_rate)
    borders = np.cumsum(rates)
    place = int(np.searchsorted(borders, rng.uniform(), side="right"))
    if place == len(FAULTS):
        return None, None
    if FAULTS[place] != "swapped":
        return FAULTS[place], None
    label = draw_label(world, split, index)
    while True:  # ends: a split holds several classes (see draw_label)
        other = int(rng.integers(world.num_clips(split)))
        if draw_label(world, split, other) != label:
            return "swapped", other


def draw_colours(rng: np.random.Generator) -> np.ndarray:
    """Two colours that differ in brightness, in either order."""
    while True:
        colours = rng.uniform(0, 255, (2, 3))
        if abs(colours[0].mean() - colours[1].mean()) > 80:
            return colours


def draw_clock(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Events of an uneven beat, from before the clip to after it."""
    tempo = math.exp(rng.uniform(math.log(0.35), math.log(0.7)))
    num_events = math.ceil(seconds / (0.75 * tempo)) + 4
    intervals = tempo * rng.uniform(0.75, 1.25, num_events)
    return np.cumsum(intervals) - intervals[0] * (1 + rng.uniform())


def draw_stage(rng: np.random.Generator, size: float, taken: list[Thing]) -> Stage:
    """A place; where others stand already, the one of a few that is farthest from them."""
    places = rng.uniform(size / 2, 1 - size / 2, (8, 2))
    best = 0
    if taken:
        others = np.array([[thing.stage.x, thing.stage.y] for thing in taken])
        gaps = np.linalg.norm(places[:, None] - others[None], axis=-1).min(axis=1)
        best = int(gaps.argmax())
    return Stage(
        x=float(places[best, 0]),
        y=float(places[best, 1]),
        reach=float(rng.uniform(0.2, 0.4)),
        angle=float(rng.uniform(-0.5, 0.5)),
        direction=float(rng.uniform(0, 2 * math.pi)),
    )


def draw_thing(
    rng: np.random.Generator, world: World, class_index: int, taken: list[Thing], sounding: bool
) -> Thing:
    size = float(rng.uniform(*world.object_size))
    clock = draw_clock(rng, world.seconds)
    width_metres = math.exp(rng.uniform(math.log(0.8), math.log(3.2)))
    return Thing(
        class_index=class_index,
        size=size,
        aspect=float(rng.uniform(0.85, 1.0)),
        density=float(rng.uniform(0.85, 1.2)),
        phase=float(rng.uniform()),
        colours=draw_colours(rng),
        stage=draw_stage(rng, size, taken),
        drift_seconds=float(rng.uniform(2, 5)),
        event_seconds=clock if sounding else None,
        strengths=rng.uniform(0.6, 1.0, len(clock)),
        visible=True,
        azimuth=0.0,
        distance_metres=width_metres / (2 * math.tan(FIELD_OF_VIEW / 2) * size),
        pitch=2 ** float(rng.uniform(-1, 1)),
        loudness=10 ** float(rng.uniform(-0.5, 0.2)),
        seed=int(rng.integers(2**31)),
    )


def draw_background(rng: np.random.Generator) -> Background:
    base = rng.uniform(20, 235, 3)
    return Background(
        colours=np.clip(base + rng.normal(0, 45, (3, 3, 3)), 0, 255),
        patches=rng.normal(0, rng.uniform(4, 22), (12, 12, 1)) + rng.normal(0, 5, (12, 12, 3)),
        horizon=float(rng.uniform(0.5, 1.1)),
        floor_colour=rng.uniform(20, 235, 3),
    )


def off_screen_thing(rng: np.random.Generator, world: World, seen: tuple[Thing, ...]) -> Thing:
    """A source beside the picture, of a class that is not in it where one is left."""
    present = {thing.class_index for thing in seen}
    absent = [k for k in range(world.num_classes) if k not in present] or [seen[-1].class_index]
    thing = draw_thing(rng, world, int(rng.choice(absent)), [], sounding=True)
    side = float(rng.choice([-1.0, 1.0]))
    azimuth = side * math.radians(rng.uniform(60, 90))
    return dataclasses.replace(thing, visible=False, azimuth=azimuth)


def draw_clean_scene(world: World, split: str, index: int) -> Scene:
    """The scene before any fault. `things[0]` is the object that the label names."""
    label = draw_label(world, split, index)
    rng = stream(world, split, index, SCENE)
    background = draw_background(rng)
    room = Room(
        reverb_seconds=math.exp(rng.uniform(math.log(0.08), math.log(0.6))),
        reverb_level=float(rng.uniform(0.05, 0.5)),
        noise_level=10 ** float(rng.uniform(-3.3, -1.7)),
    )
    num_sounding = int(rng.integers(world.num_sounding[0], world.num_sounding[1] + 1))
    num_silent = int(rng.integers(world.num_silent[0], world.num_silent[1] + 1))
    if rng.uniform() >= world.silent_rate:
        num_silent = 0
    others = rng.permutation([k for k in range(world.num_classes) if k != label])
    classes = [label, *map(int, others)][: num_sounding + num_silent]
    things: list[Thing] = []
    for place, class_index in enumerate(classes):
        things.append(draw_thing(rng, world, class_index, things, place < num_sounding))
    return Scene(world, split, index, label, tuple(things), background, room)


def draw_scene(world: World, split: str, index: int) -> Scene:
    """The scene of one clip, its fault included."""
    scene = draw_clean_scene(world, split, index)
    fault, swapped_index = draw_fault(world, split, index)
    things = scene.things
    if fault == "off_screen":
        source = off_screen_thing(stream(world, split, index, SOURCE), world, things)
        things = (*(dataclasses.replace(thing, event_seconds=None) for thing in things), source)
    return dataclasses.replace(scene, things=things, fault=fault, swapped_index=swapped_index)
