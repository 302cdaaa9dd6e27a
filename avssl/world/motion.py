"""How an object moves while it sounds: one function per family, driven by the onsets of its sound.

A family turns the clock of events into a path, so that what is seen and what is heard cannot come
apart. The events of an object run past both ends of the clip; `Clock` says, for each frame, how
many have passed, what share of the interval to the next one, and how many seconds since the last.
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Clock:
    """Per frame: index of the last event, share of the interval that has passed, seconds since."""

    count: np.ndarray
    phase: np.ndarray
    since_seconds: np.ndarray
    interval_seconds: np.ndarray

    @classmethod
    def of(cls, event_seconds: np.ndarray, frame_seconds: np.ndarray) -> "Clock":
        last = np.searchsorted(event_seconds, frame_seconds, side="right") - 1
        interval = event_seconds[last + 1] - event_seconds[last]
        since = frame_seconds - event_seconds[last]
        return cls(last, since / interval, since, interval)


@dataclasses.dataclass
class Path:
    """Per frame: centre (shares of the frame), angle (radians), size and squash (1: as drawn)."""

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    scale: np.ndarray
    squash: np.ndarray


@dataclasses.dataclass(frozen=True)
class Stage:
    """Where an object may be: its resting place, how far it may go, its direction and turn."""

    x: float
    y: float
    reach: float
    angle: float
    direction: float


def still(stage: Stage, num_frames: int) -> Path:
    one = np.ones(num_frames)
    return Path(stage.x * one, stage.y * one, stage.angle * one, one, one.copy())


def bounce(stage: Stage, clock: Clock) -> Path:
    """Falls and rebounds: the longer until the next contact, the higher."""
    path = still(stage, len(clock.phase))
    height = stage.reach * (clock.interval_seconds / clock.interval_seconds.max()) ** 2
    path.y = stage.y + stage.reach / 2 - height * 4 * clock.phase * (1 - clock.phase)
    return path


def roll(stage: Stage, clock: Clock) -> Path:
    """Rolls from wall to wall; a contact turns it round."""
    path = still(stage, len(clock.phase))
    there = np.where(clock.count % 2, 1 - clock.phase, clock.phase)
    path.x = stage.x + stage.reach * (there - 0.5)
    path.angle = stage.angle + 4 * there
    return path


def slide(stage: Stage, clock: Clock) -> Path:
    """Gathers speed along a line and stops dead at its end."""
    path = still(stage, len(clock.phase))
    there = clock.phase**3
    there = np.where(clock.count % 2, 1 - there, there) - 0.5
    path.x = stage.x + stage.reach * np.cos(stage.direction) * there
    path.y = stage.y + stage.reach * np.sin(stage.direction) * there
    return path


def pendulum(stage: Stage, clock: Clock) -> Path:
    """Swings about a point above it; sounds when it passes the lowest point."""
    path = still(stage, len(clock.phase))
    swing = np.sin(np.pi * clock.phase) * np.where(clock.count % 2, -1, 1) * 0.9
    path.x = stage.x + stage.reach * np.sin(swing)
    path.y = stage.y + stage.reach * (np.cos(swing) - 0.8)
    path.angle = stage.angle - swing
    return path


def hammer(stage: Stage, clock: Clock) -> Path:
    """Is raised slowly about a handle's end and strikes fast."""
    path = still(stage, len(clock.phase))
    rising = np.sin(clock.phase / 0.75 * np.pi / 2)
    falling = ((1 - clock.phase) / 0.25) ** 0.5
    raised = np.where(clock.phase < 0.75, rising, falling)
    side = 1 if np.cos(stage.direction) > 0 else -1
    path.x = stage.x + side * stage.reach * (np.cos(1.2 * raised) - 0.7)
    path.y = stage.y + stage.reach * (0.5 - np.sin(1.2 * raised))
    path.angle = stage.angle - side * 1.2 * raised
    return path


def shake(stage: Stage, clock: Clock) -> Path:
    """Trembles after each blow."""
    path = still(stage, len(clock.phase))
    tremble = np.sin(2 * np.pi * 7 * clock.since_seconds) * np.exp(-clock.since_seconds / 0.15)
    path.x = stage.x + 0.4 * stage.reach * np.cos(stage.direction) * tremble
    path.y = stage.y + 0.4 * stage.reach * np.sin(stage.direction) * tremble
    path.angle = stage.angle + 0.3 * tremble
    return path


def tick(stage: Stage, clock: Clock) -> Path:
    """Turns by a fixed step at each event, as a ratchet does."""
    path = still(stage, len(clock.phase))
    turned = clock.count + np.minimum(clock.since_seconds / 0.1, 1)
    path.angle = stage.angle + np.copysign(0.7, np.cos(stage.direction)) * turned
    return path


def swell(stage: Stage, clock: Clock) -> Path:
    """Opens at each event and falls back."""
    path = still(stage, len(clock.phase))
    path.scale = 0.8 + 0.35 * np.exp(-clock.since_seconds / 0.12)
    return path


MOTIONS: dict[str, Callable[[Stage, Clock], Path]] = {
    "bounce": bounce,
    "roll": roll,
    "slide": slide,
    "pendulum": pendulum,
    "hammer": hammer,
    "shake": shake,
    "tick": tick,
    "swell": swell,
}


def sounding_path(
    motion: str,
    stage: Stage,
    event_seconds: np.ndarray,
    frame_seconds: np.ndarray,
    squash: float = 0.22,
) -> Path:
    """The family's path, with a short squash at each event: whatever sounds is seen to be hit."""
    clock = Clock.of(event_seconds, frame_seconds)
    path = MOTIONS[motion](stage, clock)
    path.squash = 1 - squash * np.exp(-clock.since_seconds / 0.06)
    return path


def silent_path(stage: Stage, frame_seconds: np.ndarray, period_seconds: float) -> Path:
    """Drifts and turns without any event."""
    path = still(stage, len(frame_seconds))
    turn = 2 * np.pi * frame_seconds / period_seconds
    path.x = stage.x + 0.4 * stage.reach * np.sin(turn + stage.direction)
    path.y = stage.y + 0.4 * stage.reach * np.sin(0.7 * turn + 2 * stage.direction)
    path.angle = stage.angle + 0.5 * np.sin(turn)
    return path
