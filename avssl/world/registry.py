"""The worlds by name. A new world is one line in WORLDS."""

import dataclasses
import hashlib
import json
from typing import Any

from avssl.errors import unknown
from avssl.world.classes import KINDS_OF

SPLITS = ("train", "test")

# Goes up when the same (world, split, index) gives another clip or truth: cached worlds are then rebuilt.
GENERATOR_VERSION = 4

PROJECTIONS = ("flat", "sphere")
CASTS = ("objects", "vehicles", "persons")
EYES = ("depth", "thermal")
RHYTHMS = ("beat", "aperiodic")


def later(default: Any) -> Any:
    """A field that older worlds do without: at its default it leaves the fingerprint as it was."""
    return dataclasses.field(default=default, metadata={"later": True})


@dataclasses.dataclass(frozen=True)
class World:
    """How scenes are drawn. Worlds that differ in their faults alone show the same scenes.

    Objects are of the first `num_classes` kinds of their cast, and `object_size` is the range of
    their sizes, in shares of the picture's height. `num_sounding` and `num_silent` are (fewest,
    most) objects of a scene; `silent_rate` is the share of scenes that have silent objects at all.
    At most one fault befalls a clip: the four rates add up to the share of faulty clips.

    `size` is the height of the frames. A `sphere` is seen all round, in equirectangular frames
    twice as wide as high, and heard in first-order ambisonics (W, Y, Z, X; SN3D). `class_ratio` is
    how many times as often the first class is the label as the last, with a constant ratio from
    class to class, in both splits alike; silent objects and the second of several are of any other
    class with equal chance. `side_by_side` gives each of two sounding objects one half of the
    picture. The events of an object follow a beat or, `aperiodic`, come after waits that know
    nothing of each other. `squash` is the share by which a hit flattens what is hit.

    `eyes` are further pictures of the same scene, each a video track of that name. It is night or
    there is fog in shares `night_rate` and `fog_rate` of the clips, which hurts the RGB picture
    alone. `cast` is who plays: objects that are struck, `vehicles` that pass (sounding ones) or are
    parked, or `persons` who talk, one in a clip and all equally often, `num_identities` of them,
    the last `num_test_identities` in the test split and nowhere else: what is said above of
    objects, their numbers and classes is not for persons. `ears` of 1 is one microphone, that hears
    no directions.
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
    cast: str = later("objects")
    eyes: tuple[str, ...] = later(())
    night_rate: float = later(0.0)
    fog_rate: float = later(0.0)
    ears: int = later(2)
    num_identities: int = later(0)
    num_test_identities: int = later(0)

    def __post_init__(self) -> None:
        kinds = KINDS_OF.get(self.cast, ())
        if self.cast not in CASTS:
            raise ValueError(f"world '{self.name}': cast must be one of {CASTS}")
        if self.cast == "persons":
            if not 2 <= self.num_test_identities <= self.num_identities - 2:
                raise ValueError(f"world '{self.name}': each split needs two identities or more")
            if self.class_ratio != 1:
                raise ValueError(f"world '{self.name}': all persons talk equally often")
        elif not 2 <= self.num_classes <= len(kinds):
            raise ValueError(f"world '{self.name}': num_classes must lie in 2..{len(kinds)}")
        if not set(self.eyes) <= set(EYES):
            raise ValueError(f"world '{self.name}': eyes must be among {EYES}")
        if self.night_rate + self.fog_rate > 1:
            raise ValueError(f"world '{self.name}': night_rate and fog_rate add up to more than 1")
        if self.ears not in (1, 2) or (self.ears == 1 and self.music_rate):
            raise ValueError(f"world '{self.name}': ears must be 1 or 2, and music needs 2")
        plain = not (self.off_screen_rate or self.side_by_side or self.projection == "sphere")
        if self.cast != "objects" and not plain:
            raise ValueError(f"world '{self.name}': a cast of {self.cast} plays in a flat picture")
        if self.projection == "sphere" and (
            self.eyes or self.night_rate or self.fog_rate or self.ears == 1
        ):
            raise ValueError(f"world '{self.name}': a sphere has one eye, by day, and ambisonics")
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
    def num_channels(self) -> int:
        return 4 if self.projection == "sphere" else self.ears

    @property
    def class_names(self) -> tuple[str, ...]:
        if self.cast == "persons":
            return tuple(f"person{number:03d}" for number in range(self.num_identities))
        return tuple(kind.name for kind in KINDS_OF[self.cast][: self.num_classes])

    def identities(self, split: str) -> range:
        """The persons of a split; nobody is in two."""
        border = self.num_identities - self.num_test_identities
        return range(border) if split == "train" else range(border, self.num_identities)

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


VEHICLES = World(
    "vehicles",
    cast="vehicles",
    num_classes=5,
    num_sounding=(1, 3),
    num_silent=(1, 2),
    silent_rate=0.6,
    fps=8,
    audio_rate=16000,
    eyes=EYES,
    night_rate=0.25,
    fog_rate=0.15,
)
TINY_VEHICLES = dataclasses.replace(
    VEHICLES, name="tiny_vehicles", num_train=32, num_test=16, seconds=1.5, size=64
)  # fmt: skip

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
        World(
            "eyes",
            num_sounding=(1, 2),
            num_silent=(1, 2),
            silent_rate=0.7,
            object_size=(0.24, 0.4),
            seconds=2.0,
            eyes=EYES,
            night_rate=0.25,
            fog_rate=0.15,
        ),
        World(
            "tiny_eyes",
            num_classes=4,
            num_train=32,
            num_test=16,
            seconds=1.5,
            size=48,
            audio_rate=16000,
            eyes=EYES,
            night_rate=0.25,
            fog_rate=0.25,
        ),
        VEHICLES,
        dataclasses.replace(VEHICLES, name="vehicles_mono", ears=1),
        TINY_VEHICLES,
        dataclasses.replace(TINY_VEHICLES, name="tiny_vehicles_mono", ears=1),
        World(
            "persons",
            cast="persons",
            num_identities=120,
            num_test_identities=40,
            num_train=1600,
            seconds=2.0,
            audio_rate=16000,
        ),
        World(
            "tiny_persons",
            cast="persons",
            num_identities=12,
            num_test_identities=4,
            num_train=32,
            num_test=16,
            seconds=1.5,
            size=48,
            audio_rate=16000,
        ),
    )
}


def find_world(name: str) -> World:
    """The world of that name, or an error that carries the nearest one."""
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    return WORLDS[name]
