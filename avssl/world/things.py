"""One object: what was drawn for it, and what follows from that.

The class of an object is drawn apart from everything else about it.
"""

import dataclasses
import math

import numpy as np

from avssl.world.classes import KINDS, Kind
from avssl.world.motion import Path, Stage, silent_path, sounding_path
from avssl.world.registry import World

FIELD_OF_VIEW = math.radians(90)
OUTLINE_REACH = 1.15  # no outline leaves the circle of so many half sides
# Shortest and longest: the mean interval of a beat, and any interval where there is no beat.
BEAT_SECONDS = (0.35, 0.7)
APERIODIC_SECONDS = (0.2, 0.9)


@dataclasses.dataclass(frozen=True)
class Thing:
    """One object. `event_seconds` is its clock, past both ends of the clip; None: it drifts.

    `squash` is the depth of a hit's. With a `span` (left, right) no part of the object leaves that
    part of the picture's width. With a `heading` (phi, nu; see `directions`) the picture in which
    it moves is a window to there, upright and FIELD_OF_VIEW wide.
    """

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
    squash: float = 0.22
    span: tuple[float, float] | None = None
    heading: tuple[float, float] | None = None

    @property
    def sounds(self) -> bool:
        return self.event_seconds is not None

    @property
    def kind(self) -> Kind:
        return KINDS[self.class_index]

    def path(self, frame_seconds: np.ndarray) -> Path:
        """Where it is in each frame, moved as a whole so that most of it stays in the picture."""
        if self.event_seconds is None:
            path = silent_path(self.stage, frame_seconds, self.drift_seconds)
        else:
            path = sounding_path(
                self.kind.motion, self.stage, self.event_seconds, frame_seconds, self.squash
            )
        margin = 0.45 * self.size
        for name in ("x", "y"):
            line = getattr(path, name)
            shift = max(0.0, margin - line.min()) - max(0.0, line.max() - (1 - margin))
            setattr(path, name, line + shift)
        if self.span is not None:
            half = (OUTLINE_REACH * self.size / 2 * path.scale * (2 - path.squash)).max()
            path.x = keep_between(path.x, self.span[0] + half, self.span[1] - half)
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


def keep_between(line: np.ndarray, low: float, high: float) -> np.ndarray:
    """The line, narrowed about its middle where it is too wide, and moved into [low, high]."""
    middle, extent = (line.max() + line.min()) / 2, np.ptp(line)
    share = min(1.0, max(0.0, high - low) / max(extent, 1e-9))
    reach = share * extent / 2
    return max(low + reach, min(high - reach, middle)) + share * (line - middle)


def draw_colours(rng: np.random.Generator) -> np.ndarray:
    """Two colours that differ in brightness, in either order."""
    while True:
        colours = rng.uniform(0, 255, (2, 3))
        if abs(colours[0].mean() - colours[1].mean()) > 80:
            return colours


def draw_clock(rng: np.random.Generator, seconds: float, rhythm: str) -> np.ndarray:
    """Events of an uneven beat, or of none at all, from before the clip to after it."""
    if rhythm == "aperiodic":
        shortest, longest = APERIODIC_SECONDS
        num_events = math.ceil(seconds / shortest) + 4
        intervals = np.exp(rng.uniform(math.log(shortest), math.log(longest), num_events))
    else:
        shortest, longest = BEAT_SECONDS
        tempo = math.exp(rng.uniform(math.log(shortest), math.log(longest)))
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
    clock = draw_clock(rng, world.seconds, world.rhythm)
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
        squash=world.squash,
    )
