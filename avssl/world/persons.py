"""Persons who talk into the camera: an identity fixes a look and a voice, and a clip all the rest.

What a clip draws (light, place, pose, clothes, melody, words, loudness, room) is as large as what
tells persons apart in a mean over pixels or samples, so that such a mean identifies nobody.
"""

import dataclasses
import math

import numpy as np

from avssl.world.classes import Kind
from avssl.world.motion import Path, Stage, silent_path
from avssl.world.registry import World
from avssl.world.things import FIELD_OF_VIEW, Thing

HEAD_METRES = 0.26  # from chin to crown
SYLLABLE_SECONDS = (0.14, 0.24)
CONSONANTS = ("b", "d", "m", "s", "sh", "t")
VOWELS = ("a", "e", "i", "o", "u")
# How far each opens the mouth.
OPENNESS = {"a": 1.0, "e": 0.65, "i": 0.4, "o": 0.75, "u": 0.35}


@dataclasses.dataclass(frozen=True)
class Look:
    """Lengths are shares of half the head's height; colours are those in white light."""

    head_width: float
    head_power: float  # 2: an ellipse; more: a squarer jaw
    skin: np.ndarray
    hair: np.ndarray
    hair_line: float
    hair_length: float
    hair_volume: float
    parting: float
    eye_gap: float
    eye_row: float
    eye_size: float
    iris: np.ndarray
    brow_thickness: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    mouth_row: float
    mouth_width: float
    lips: float
    glasses: bool
    beard: bool
    moles: np.ndarray  # [k, 2]: u, v


@dataclasses.dataclass(frozen=True)
class Voice:
    """`tract` scales all formants, `vowels` [5, 3] each for itself; `tilt` is in dB an octave."""

    hertz: float
    tract: float
    vowels: np.ndarray
    tilt: float
    breath: float
    vibrato_hertz: float
    vibrato_depth: float
    sharpness: float


@dataclasses.dataclass(frozen=True)
class Identity:
    number: int
    look: Look
    voice: Voice


@dataclasses.dataclass(frozen=True)
class Pose:
    """Of a clip: turns of the head (radians; `yaw` and `pitch` swing by `sway`), and the light."""

    yaw: float
    pitch: float
    roll: float
    sway: float
    light: np.ndarray
    side_light: float
    clothes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Delivery:
    """How a clip is spoken: the melody, and the microphone's tilt (dB an octave)."""

    pitch: float
    melody: np.ndarray  # factors of the pitch at even distances over the clip
    colour: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person(Thing):
    """The events are the beginnings of the syllables, `words` holds one syllable for each."""

    identity: Identity
    pose: Pose
    delivery: Delivery
    words: tuple[str, ...]
    syllable_seconds: np.ndarray

    @property
    def kind(self) -> Kind:
        return Kind(f"person{self.class_index:03d}", "head", "face", "talk", "voice")

    def path(self, frame_seconds: np.ndarray) -> Path:
        path = silent_path(self.stage, frame_seconds, self.drift_seconds)
        path.angle = self.pose.roll + 0.3 * (path.angle - self.stage.angle)
        return path

    def said(self, seconds: float) -> np.ndarray:
        """The numbers of the syllables that `hits` are of."""
        return np.flatnonzero(np.isin(np.asarray(self.event_seconds), self.hits(seconds)[0]))

    def openness(self, frame_seconds: np.ndarray) -> np.ndarray:
        """[n]: how far the mouth is open, from 0 to 1."""
        events = np.asarray(self.event_seconds)
        since = (frame_seconds[:, None] - events[None]) / self.syllable_seconds[None]
        bump = np.sin(np.pi * np.clip(since, 0, 1)) ** 0.7
        widest = np.array([OPENNESS[word[-1]] for word in self.words])
        return (bump * widest[None]).max(axis=1)


def draw_identity(rng: np.random.Generator, number: int) -> Identity:
    skin = rng.uniform(95, 215) * np.array([1.0, rng.uniform(0.72, 0.84), rng.uniform(0.52, 0.72)])
    hair = rng.uniform(15, 190) * np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.9)])
    look = Look(
        head_width=float(rng.uniform(0.62, 0.84)),
        head_power=float(rng.uniform(1.8, 3.4)),
        skin=skin,
        hair=hair,
        hair_line=float(rng.uniform(-0.72, -0.38)),
        hair_length=float(rng.choice([rng.uniform(-0.4, 0.1), rng.uniform(0.4, 1.1)])),
        hair_volume=float(rng.uniform(1.03, 1.3)),
        parting=float(rng.uniform(-0.5, 0.5)),
        eye_gap=float(rng.uniform(0.24, 0.38)),
        eye_row=float(rng.uniform(-0.2, 0.02)),
        eye_size=float(rng.uniform(0.09, 0.15)),
        iris=rng.uniform(20, 150, 3),
        brow_thickness=float(rng.uniform(0.02, 0.07)),
        brow_tilt=float(rng.uniform(-0.35, 0.35)),
        nose_length=float(rng.uniform(0.2, 0.42)),
        nose_width=float(rng.uniform(0.06, 0.16)),
        mouth_row=float(rng.uniform(0.46, 0.64)),
        mouth_width=float(rng.uniform(0.18, 0.36)),
        lips=float(rng.uniform(0.03, 0.08)),
        glasses=bool(rng.uniform() < 0.3),
        beard=bool(rng.uniform() < 0.25),
        moles=rng.uniform(-0.6, 0.6, (int(rng.integers(0, 4)), 2)),
    )
    voice = Voice(
        hertz=math.exp(rng.uniform(math.log(95), math.log(230))),
        tract=float(rng.uniform(0.84, 1.2)),
        vowels=np.exp(rng.normal(0, 0.07, (len(VOWELS), 3))),
        tilt=float(rng.uniform(-9, -2)),
        breath=float(10 ** rng.uniform(-1.6, -0.3)),
        vibrato_hertz=float(rng.uniform(3.5, 7.5)),
        vibrato_depth=float(rng.uniform(0.0, 0.04)),
        sharpness=float(rng.uniform(0.5, 1.6)),
    )
    return Identity(number, look, voice)


def draw_words(
    rng: np.random.Generator, seconds: float
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """(syllables, when each begins, how long it is), from before the clip to after it."""
    tempo = rng.uniform(0.85, 1.2)
    words, starts, lengths = [], [], []
    time = -rng.uniform(0.0, 0.5)
    while time < seconds + 0.5:
        for _ in range(rng.integers(1, 4)):
            length = float(rng.uniform(*SYLLABLE_SECONDS)) * tempo
            words.append(str(rng.choice(CONSONANTS)) + str(rng.choice(VOWELS)))
            starts.append(time)
            lengths.append(length)
            time += length
        time += rng.uniform(0.06, 0.25)
    return tuple(words), np.array(starts), np.array(lengths)


def draw_person(rng: np.random.Generator, world: World, identity: Identity) -> Person:
    size = float(rng.uniform(0.5, 0.78))
    words, starts, lengths = draw_words(rng, world.seconds)
    margin = 0.62 * size
    pose = Pose(
        yaw=float(rng.uniform(-0.6, 0.6)),
        pitch=float(rng.uniform(-0.3, 0.3)),
        roll=float(rng.uniform(-0.22, 0.22)),
        sway=float(rng.uniform(0.05, 0.25)),
        light=np.exp(rng.normal(0, 0.35) + rng.normal(0, 0.22, 3)),
        side_light=float(rng.uniform(-0.6, 0.6)),
        clothes=rng.uniform(10, 245, 3),
    )
    delivery = Delivery(
        pitch=2 ** float(rng.uniform(-0.35, 0.35)),
        melody=2 ** rng.normal(0, 0.13, 8),
        colour=float(rng.uniform(-4, 4)),
    )
    return Person(
        class_index=identity.number,
        size=size,
        aspect=1.0,
        density=1.0,
        phase=0.0,
        colours=np.stack([identity.look.skin, identity.look.hair]),
        stage=Stage(
            x=float(rng.uniform(min(margin, 0.45), max(1 - margin, 0.55))),
            y=float(rng.uniform(0.44, 0.56)),
            reach=float(rng.uniform(0.02, 0.1)),
            angle=0.0,
            direction=float(rng.uniform(0, 2 * math.pi)),
        ),
        drift_seconds=float(rng.uniform(2, 5)),
        event_seconds=starts,
        strengths=rng.uniform(0.6, 1.0, len(starts)),
        visible=True,
        azimuth=0.0,
        distance_metres=HEAD_METRES / (2 * math.tan(FIELD_OF_VIEW / 2) * size),
        pitch=1.0,
        # Nearer than any object: what talks is not louder for it.
        loudness=size * 10 ** float(rng.uniform(-0.95, 0.05)),
        seed=int(rng.integers(2**31)),
        identity=identity,
        pose=pose,
        delivery=delivery,
        words=words,
        syllable_seconds=lengths,
    )
