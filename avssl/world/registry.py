"""The worlds by name. A new world is one line in WORLDS."""

import dataclasses
import hashlib
import json

from avssl.errors import unknown
from avssl.world.classes import KINDS

SPLITS = ("train", "test")

# Goes up when the same (world, split, index) gives another clip or truth: cached worlds are then rebuilt.
GENERATOR_VERSION = 4


@dataclasses.dataclass(frozen=True)
class World:
    """How scenes are drawn. Worlds that differ in their faults alone show the same scenes.

    `num_sounding` and `num_silent` are (fewest, most) objects of a scene; `silent_rate` is the
    share of scenes that have silent objects at all. At most one fault befalls a clip: the four
    rates add up to the share of faulty clips.
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

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= len(KINDS):
            raise ValueError(f"world '{self.name}': num_classes must lie in 2..{len(KINDS)}")
        if self.size % 2:
            raise ValueError(f"world '{self.name}': size must be even (H.264 with 4:2:0 colour)")

    @property
    def num_frames(self) -> int:
        return round(self.seconds * self.fps)

    @property
    def num_samples(self) -> int:
        return round(self.seconds * self.audio_rate)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(kind.name for kind in KINDS[: self.num_classes])

    def num_clips(self, split: str) -> int:
        if split not in SPLITS:
            raise unknown(f"split of world '{self.name}'", split, SPLITS)
        return self.num_train if split == "train" else self.num_test

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything that decides what the clips are."""
        fields = dataclasses.asdict(self) | {"generator_version": GENERATOR_VERSION}
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
    )
}


def find_world(name: str) -> World:
    """The world of that name, or an error that carries the nearest one."""
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    return WORLDS[name]
