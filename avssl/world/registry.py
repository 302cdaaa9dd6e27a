"""The worlds by name. A new world is one line in WORLDS."""

import dataclasses
import hashlib
import json
from typing import Any

from avssl.errors import unknown
from avssl.world.classes import KINDS

SPLITS = ("train", "test")

# Goes up when the same (world, split, index) gives another clip or truth: cached worlds are then rebuilt.
GENERATOR_VERSION = 4

PROJECTIONS = ("flat", "sphere")
RHYTHMS = ("beat", "aperiodic")


def later(default: Any) -> Any:
    """A field that older worlds do without: at its default it leaves the fingerprint as it was."""
    return dataclasses.field(default=default, metadata={"later": True})


@dataclasses.dataclass(frozen=True)
class World:
    """How scenes are drawn. Worlds that differ in their faults alone show the same scenes.

    `num_sounding` and `num_silent` are (fewest, most) objects of a scene; `silent_rate` is the
    share of scenes that have silent objects at all. At most one fault befalls a clip: the four
    rates add up to the share of faulty clips.

    `size` is the height of the frames. A `sphere` is seen all round, in equirectangular frames
    twice as wide as high, and heard in first-order ambisonics (W, Y, Z, X; SN3D). `class_ratio` is
    how many times as often the first class is the label as the last, with a constant ratio from
    class to class, in both splits alike; silent objects and the second of several are of any other
    class with equal chance. `side_by_side` gives each of two sounding objects one half of the
    picture. The events of an object follow a beat or, `aperiodic`, come after waits that know
    nothing of each other. `squash` is the share by which a hit flattens what is hit.
    """

    name: str
    num_classes: int = 10
    num_train: int = 1200
    num_test: int = 400
    seconds: float = 3.0
    fps: int = 16
    size: int = 96
    audio_rate: int = 24000
    num_sounding: tuple[int, int] = (1, 1)
    num_silent: tuple[int, int] = (1, 1)
    silent_rate: float = 0.25
    object_size: tuple[float, float] = (0.34, 0.55)
    swapped_rate: float = 0.0
    music_rate: float = 0.0
    silence_rate: float = 0.0
    off_screen_rate: float = 0.0
    seed: int = 0
    projection: str = later("flat")
    class_ratio: float = later(1.0)
    side_by_side: bool = later(False)
    rhythm: str = later("beat")
    squash: float = later(0.22)

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= len(KINDS):
            raise ValueError(f"world '{self.name}': num_classes must lie in 2..{len(KINDS)}")
        if self.size % 2:
            raise ValueError(f"world '{self.name}': size must be even (H.264 with 4:2:0 colour)")
        if self.projection not in PROJECTIONS:
            raise ValueError(f"world '{self.name}': projection must be one of {PROJECTIONS}")
        if self.rhythm not in RHYTHMS:
            raise ValueError(f"world '{self.name}': rhythm must be one of {RHYTHMS}")
        if self.projection == "sphere":
            if self.off_screen_rate or self.music_rate:
                raise ValueError(f"world '{self.name}': a sphere has nothing beside it, nor stereo")
            if self.num_sounding[1] + self.num_silent[1] > 4 or self.object_size[1] > 0.5:
                raise ValueError(f"world '{self.name}': a sphere has room for 4 objects up to 0.5")
        two = self.num_sounding == (2, 2) and self.silent_rate == 0 and self.projection == "flat"
        if self.side_by_side and not two:
            raise ValueError(f"world '{self.name}': side_by_side needs two sounding objects alone")
        if self.class_ratio < 1:
            raise ValueError(f"world '{self.name}': class_ratio must be at least 1")

    @property
    def width(self) -> int:
        return 2 * self.size if self.projection == "sphere" else self.size

    @property
    def num_frames(self) -> int:
        return round(self.seconds * self.fps)

    @property
    def num_samples(self) -> int:
        return round(self.seconds * self.audio_rate)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(kind.name for kind in KINDS[: self.num_classes])

    @property
    def class_frequencies(self) -> tuple[float, ...]:
        """The share of each class among the labels."""
        last = self.num_classes - 1
        weights = [self.class_ratio ** (-place / last) for place in range(self.num_classes)]
        return tuple(weight / sum(weights) for weight in weights)

    def num_clips(self, split: str) -> int:
        if split not in SPLITS:
            raise unknown(f"split of world '{self.name}'", split, SPLITS)
        return self.num_train if split == "train" else self.num_test

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything that decides what the clips are."""
        fields = dataclasses.asdict(self) | {"generator_version": GENERATOR_VERSION}
        for field in dataclasses.fields(self):
            if field.metadata.get("later") and fields[field.name] == field.default:
                del fields[field.name]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


WORLDS: dict[str, World] = {
    world.name: world
    for world in (
        World("quickstart"),
        World(
            "tiny", num_classes=4, num_train=32, num_test=16, seconds=1.5, size=48, audio_rate=16000
        ),
        World(
            "faulty",
            swapped_rate=0.16,
            music_rate=0.08,
            silence_rate=0.08,
            off_screen_rate=0.08,
        ),
        World(
            "crowd",
            num_sounding=(1, 3),
            num_silent=(1, 2),
            silent_rate=0.7,
            object_size=(0.2, 0.36),
            size=128,
        ),
        World(
            "sphere",
            projection="sphere",
            seconds=1.5,
            size=128,
            num_sounding=(2, 3),
            object_size=(0.34, 0.48),
        ),
        World(
            "tiny_sphere",
            num_classes=4,
            num_train=32,
            num_test=16,
            projection="sphere",
            seconds=1.5,
            size=64,
            num_sounding=(2, 2),
            object_size=(0.34, 0.48),
            audio_rate=16000,
        ),
        World("unbalanced", class_ratio=10.0),
        World(
            "pairs",
            num_sounding=(2, 2),
            silent_rate=0.0,
            object_size=(0.24, 0.3),
            size=112,
            side_by_side=True,
        ),
        World("long", seconds=6.0, size=80, rhythm="aperiodic", squash=0.35),
    )
}


def find_world(name: str) -> World:
    """The world of that name, or an error that carries the nearest one."""
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    return WORLDS[name]
