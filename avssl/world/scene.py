"""What happens in a clip: a pure function of (world, split, index).

Draws of one purpose come from one stream, so that a fault changes nothing but what it is said to
change.
"""

import dataclasses
import math

import numpy as np

from avssl.world.arrange import in_halves, on_sphere
from avssl.world.passing import draw_traffic
from avssl.world.persons import draw_identity, draw_person
from avssl.world.registry import SPLITS, World
from avssl.world.setting import Setting, draw_setting
from avssl.world.things import Thing, draw_thing
from avssl.world.weather import Weather, draw_weather

# What is drawn for a whole world, and not for a clip of a split.
ANY_SPLIT = "any"
OUTDOORS = 0.3  # as much echo as in a room
FAULTS = ("swapped", "music", "silence", "off_screen")

# Purposes of the streams: a number here must never be given to another purpose.
LABELS, SCENE, FAULT, SOURCE, SOUND, SETTING, WEATHER, IDENTITY = range(8)


def stream(world: World, split: str, index: int, purpose: int) -> np.random.Generator:
    """Independent draws. The split is part of the seed: no train clip has a test clip's seed."""
    if split != ANY_SPLIT:
        world.num_clips(split)  # refuses an unknown split
    key = ((*SPLITS, ANY_SPLIT).index(split), index, purpose)
    return np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=key))


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
    """`fault` is one of FAULTS or None; `swapped_index` the clip whose audio is heard instead.

    A world with one eye and no weather has no `setting`; without `weather` the day is clear.
    """

    world: World
    split: str
    index: int
    label: int
    things: tuple[Thing, ...]
    background: Background
    room: Room
    fault: str | None = None
    swapped_index: int | None = None
    setting: Setting | None = None
    weather: Weather | None = None

    @property
    def frame_seconds(self) -> np.ndarray:
        return np.arange(self.world.num_frames) / self.world.fps


def draw_label(world: World, split: str, index: int) -> int:
    """Every run of `num_classes` clips holds each class once, in its own order.

    Where classes are unequal, each clip of a ten times longer run draws from its own equal part of
    the distribution: a split keeps the frequencies, nearly to the clip. Of persons it is the
    identity, out of those of the split.
    """
    if world.cast == "persons":
        identities = world.identities(split)
        block, place = divmod(index, len(identities))
        order = stream(world, split, block, LABELS).permutation(len(identities))
        return identities[int(order[place])]
    if world.class_ratio == 1:
        block, place = divmod(index, world.num_classes)
        return int(stream(world, split, block, LABELS).permutation(world.num_classes)[place])
    num_parts = 10 * world.num_classes
    block, place = divmod(index, num_parts)
    rng = stream(world, split, block, LABELS)
    shares = (rng.permutation(num_parts) + rng.uniform(size=num_parts)) / num_parts
    borders = np.cumsum(world.class_frequencies)[:-1]
    return int(np.searchsorted(borders, shares[place], side="right"))


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
    setting = None
    if world.eyes or world.fog_rate or world.cast == "vehicles":
        # Fog needs to know how far away everything is.
        setting = draw_setting(stream(world, split, index, SETTING), world.cast)
    rng = stream(world, split, index, SCENE)
    background = draw_background(rng)
    room = Room(
        reverb_seconds=math.exp(rng.uniform(math.log(0.08), math.log(0.6))),
        reverb_level=float(rng.uniform(0.05, 0.5)),
        noise_level=10 ** float(rng.uniform(-3.3, -1.7)),
    )
    if world.cast == "objects":
        things = draw_objects(rng, world, label)
    elif world.cast == "vehicles":
        assert setting is not None
        background = dataclasses.replace(background, horizon=setting.floor_row)
        room = dataclasses.replace(room, reverb_level=OUTDOORS * room.reverb_level)
        things = draw_traffic(rng, world, label, setting)
    else:
        identity = draw_identity(stream(world, ANY_SPLIT, label, IDENTITY), label)
        things = [draw_person(rng, world, identity)]
    return Scene(world, split, index, label, tuple(things), background, room, setting=setting)


def draw_objects(rng: np.random.Generator, world: World, label: int) -> list[Thing]:
    num_sounding = int(rng.integers(world.num_sounding[0], world.num_sounding[1] + 1))
    num_silent = int(rng.integers(world.num_silent[0], world.num_silent[1] + 1))
    if rng.uniform() >= world.silent_rate:
        num_silent = 0
    others = rng.permutation([k for k in range(world.num_classes) if k != label])
    classes = [label, *map(int, others)][: num_sounding + num_silent]
    things: list[Thing] = []
    for place, class_index in enumerate(classes):
        things.append(draw_thing(rng, world, class_index, things, place < num_sounding))
    if world.projection == "sphere":
        things = on_sphere(rng, things)
    elif world.side_by_side:
        things = in_halves(rng, things)
    return things


def draw_scene(world: World, split: str, index: int) -> Scene:
    """The scene of one clip, its fault included."""
    scene = draw_clean_scene(world, split, index)
    fault, swapped_index = draw_fault(world, split, index)
    things = scene.things
    if fault == "off_screen":
        source = off_screen_thing(stream(world, split, index, SOURCE), world, things)
        things = (*(dataclasses.replace(thing, event_seconds=None) for thing in things), source)
    weather = draw_weather(world, stream(world, split, index, WEATHER))
    return dataclasses.replace(
        scene, things=things, fault=fault, swapped_index=swapped_index, weather=weather
    )
