"""The sound of an engine that runs on: a tone that repeats itself, noise, and the beat of both."""

import dataclasses

import numpy as np

from avssl.world.timbre import band_noise, fast_length

TABLE = 2048  # samples of one period of a tone
HIGHEST_HERTZ = 6000


@dataclasses.dataclass(frozen=True)
class Engine:
    """`hertz` of the tone, whose harmonic n has the level n^-tilt, doubled near `peak_hertz`.

    `noise` is the share of noise in the energy, `noise_hertz` its band. Everything swells
    `beat_hertz` times a second, by `beat_depth` of its level; the beat is the sharper the deeper.
    """

    hertz: float
    tilt: float
    peak_hertz: float
    noise: float
    noise_hertz: tuple[float, float]
    beat_hertz: float
    beat_depth: float


ENGINES = {
    "petrol": Engine(92, 1.3, 300, 0.5, (500, 1900), 23, 0.15),
    "diesel": Engine(58, 0.7, 1300, 0.25, (900, 2600), 29, 0.6),
    "rumble": Engine(36, 1.0, 110, 0.35, (60, 420), 12, 0.3),
    "rasp": Engine(128, 0.5, 1900, 0.1, (2000, 4000), 64, 0.4),
    "putter": Engine(44, 0.9, 180, 0.45, (150, 900), 9, 0.95),
}


def engine(timbre: str, pitch: float, seconds: float, rate: int, seed: int) -> np.ndarray:
    """float32 [seconds * rate], of level 1 (root of the mean square)."""
    kind, rng = ENGINES[timbre], np.random.default_rng(seed)
    turns = _turns(pitch, seconds, rate, rng)
    tone = around(_period(kind, pitch, rng), kind.hertz * turns)
    noise = _noise(kind, len(turns), rate, rng)
    wave = (tone + noise) * around(_beat(kind), kind.beat_hertz * turns)
    return wave / np.sqrt(np.square(wave).mean())


def around(period: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """A table that holds one turn, read after so many of them."""
    return period.take((turns * TABLE).astype(np.int32) % TABLE)


def _turns(pitch: float, seconds: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Seconds by the engine's own clock at each sample: no engine runs quite evenly."""
    time = np.arange(round(seconds * rate) + 2, dtype=np.float64) / rate
    knots = np.arange(0, seconds + 0.4, 0.2)
    wander = np.interp(time, knots, rng.normal(0, 0.012, len(knots)))
    return np.cumsum(pitch * (1 + wander)) / rate


def _noise(kind: Engine, num_samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    noise = band_noise(fast_length(num_samples), *kind.noise_hertz, rate, rng)
    noise = noise[:num_samples].astype(np.float32)
    return noise * (np.float32(np.sqrt(kind.noise)) / np.sqrt(np.square(noise).mean()))


def _beat(kind: Engine) -> np.ndarray:
    swell = (1 + np.cos(2 * np.pi * np.arange(TABLE) / TABLE)) / 2
    swell **= 1 + 4 * kind.beat_depth
    return (1 - kind.beat_depth * (1 - swell)).astype(np.float32)


def _period(kind: Engine, pitch: float, rng: np.random.Generator) -> np.ndarray:
    number = np.arange(1, 41)
    hertz = kind.hertz * pitch * number
    near = np.exp(-(np.log2(hertz / kind.peak_hertz) ** 2) * 2)
    level = number**-kind.tilt * (1 + near) * (hertz < HIGHEST_HERTZ)
    place = np.arange(TABLE) / TABLE
    waves = np.sin(2 * np.pi * (number[:, None] * place + rng.uniform(size=(len(number), 1))))
    period = (level[:, None] * waves).sum(axis=0)
    share = np.sqrt(1 - kind.noise) / np.sqrt(np.square(period).mean())
    return (period * share).astype(np.float32)
