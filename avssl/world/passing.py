"""Vehicles that pass on a street, seen from beside it, and others that are parked there.

Everything about place follows from one picture: a street seen by a level camera. A vehicle has its
lane, so many metres away, and drives straight along it; the lane decides its size, its row in the
picture and what it hides, and the same way its azimuth and distance decide its sound.
"""

import dataclasses
import math

import numpy as np

from avssl.world.classes import VEHICLES, Kind
from avssl.world.motion import Path, Stage, still
from avssl.world.registry import World
from avssl.world.setting import EYE_ROW, Setting
from avssl.world.things import FIELD_OF_VIEW, Thing, draw_colours

LANE_METRES = (3.5, 8.0)
# Length, and height as a share of it.
MEASURES = {
    "car": (4.0, 0.36),
    "van": (4.6, 0.46),
    "bus": (7.0, 0.42),
    "motorcycle": (2.3, 0.72),
    "tractor": (3.4, 0.74),
}
METRES_PER_SECOND = (3.0, 10.0)
FILLED = 0.95  # of a sprite's half side, by a vehicle
# Less of a vehicle than this share of its box is not called seen.
LEAST_SEEN = 0.2
BUMPS_PER_SECOND = 2.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vehicle(Thing):
    """At `start_metres` to the right of the camera as the clip begins; 0 m/s: it is parked.

    Without engine (`sounds` is False) there is nothing to hear of it.
    """

    start_metres: float
    metres_per_second: float

    @property
    def sounds(self) -> bool:
        return self.metres_per_second != 0

    @property
    def kind(self) -> Kind:
        return VEHICLES[self.class_index]

    def metres_aside(self, seconds: np.ndarray) -> np.ndarray:
        return self.start_metres + self.metres_per_second * seconds

    def path(self, frame_seconds: np.ndarray) -> Path:
        """Also beyond the picture, where x is below 0 or above 1."""
        path = still(self.stage, len(frame_seconds))
        wide = 2 * math.tan(FIELD_OF_VIEW / 2) * self.distance_metres
        path.x = 0.5 + self.metres_aside(frame_seconds) / wide
        if self.sounds:
            bumps = np.sin(2 * np.pi * BUMPS_PER_SECOND * (frame_seconds + self.phase))
            path.y = path.y + 0.006 * self.size * bumps
        return path

    def hits(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """An engine has no onsets."""
        return np.zeros(0), np.zeros(0)


def draw_vehicle(
    rng: np.random.Generator,
    world: World,
    class_index: int,
    lane_metres: float,
    setting: Setting,
    moves: bool,
) -> Vehicle:
    length, aspect = MEASURES[VEHICLES[class_index].name]
    length, aspect = length * rng.uniform(0.9, 1.1), aspect * rng.uniform(0.93, 1.07)
    wide = 2 * math.tan(FIELD_OF_VIEW / 2) * lane_metres
    size = length / FILLED / wide
    ground = EYE_ROW + setting.camera_metres / wide
    speed = math.exp(rng.uniform(*np.log(METRES_PER_SECOND))) * rng.choice([-1, 1])
    passes_at, parked_at = rng.uniform(0.05, 0.95) * world.seconds, rng.uniform(-0.4, 0.4) * wide
    return Vehicle(
        class_index=class_index,
        size=size,
        aspect=aspect,
        density=1.0,
        phase=float(rng.uniform()),
        colours=draw_colours(rng),
        stage=Stage(x=0.5, y=ground - FILLED * aspect * size / 2, reach=0, angle=0, direction=0),
        drift_seconds=1.0,
        event_seconds=None,
        strengths=np.zeros(0),
        visible=True,
        azimuth=0.0,
        distance_metres=lane_metres,
        pitch=2 ** float(rng.uniform(-0.4, 0.4)),
        loudness=10 ** float(rng.uniform(-0.35, 0.15)),
        seed=int(rng.integers(2**31)),
        start_metres=float(-speed * passes_at if moves else parked_at),
        metres_per_second=float(speed if moves else 0.0),
    )


def draw_traffic(
    rng: np.random.Generator, world: World, label: int, setting: Setting
) -> list[Thing]:
    """Each in a lane of its own. `things[0]` moves and is what the label names."""
    num_moving = int(rng.integers(world.num_sounding[0], world.num_sounding[1] + 1))
    num_parked = int(rng.integers(world.num_silent[0], world.num_silent[1] + 1))
    if rng.uniform() >= world.silent_rate:
        num_parked = 0
    num_things = num_moving + num_parked
    shares = (rng.permutation(num_things) + rng.uniform(0.2, 0.8, num_things)) / num_things
    nearest, farthest = np.log(LANE_METRES)
    lanes = np.exp(nearest + shares * (farthest - nearest))
    classes = [label, *rng.integers(world.num_classes, size=num_things - 1).tolist()]
    return [
        draw_vehicle(rng, world, class_index, float(lane), setting, place < num_moving)
        for place, (class_index, lane) in enumerate(zip(classes, lanes, strict=True))
    ]


def where_seen(boxes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool [n]: whether enough is left in `boxes` [n, 4] of outlines whose points are x, y [n, k]."""
    left = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return left >= LEAST_SEEN * np.ptp(x, axis=1) * np.ptp(y, axis=1)
