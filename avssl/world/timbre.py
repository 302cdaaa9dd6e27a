"""The sound of one hit, by family: `note(pitch, seconds, rate, rng)` gives mono float32.

`pitch` is a factor (half to double) on the family's own register. All notes leave here with the
same energy, so that loudness says nothing of the class.
"""

from collections.abc import Callable

import numpy as np

TURN = 2 * np.pi
NOTE_SECONDS = 0.6


def clock(rate: int) -> np.ndarray:
    return np.arange(round(NOTE_SECONDS * rate), dtype=np.float32) / rate


def partials(
    time: np.ndarray, hertz: np.ndarray, level: np.ndarray, decay: np.ndarray, rate: int
) -> np.ndarray:
    """Decaying sines; those above 0.45 of the rate are left out."""
    keep = hertz < 0.45 * rate
    hertz, level, decay = (a[keep, None].astype(np.float32) for a in (hertz, level, decay))
    return (level * np.sin(np.float32(TURN) * hertz * time) * np.exp(-decay * time)).sum(0)


def fast_length(length: int) -> int:
    """The next size of which the Fourier transform is fast: 2^k or 3 * 2^k."""
    power = 1 << (length - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= length else power


def band_noise(
    num_samples: int, low_hertz: float, high_hertz: float, rate: int, rng: np.random.Generator
) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(num_samples, dtype=np.float32))
    hertz = np.fft.rfftfreq(num_samples, 1 / rate)
    band = 1 / (1 + (low_hertz / np.maximum(hertz, 1)) ** 8) / (1 + (hertz / high_hertz) ** 8)
    return np.fft.irfft(spectrum * band.astype(np.float32), num_samples)


def bell(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Partials that are no multiples of one another; the high ones die first."""
    ratio = np.array([0.56, 0.92, 1.19, 1.71, 2.0, 2.74, 3.0, 3.76, 4.07])
    level = np.array([0.5, 0.7, 1.0, 0.5, 0.8, 0.4, 0.3, 0.25, 0.2])
    return partials(clock(rate), 620 * pitch * ratio, level, 2.5 + 2 * ratio, rate)


def pluck(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A string: harmonics whose decay grows with their number."""
    number = np.arange(1, 21)
    level = np.abs(np.sin(np.pi * number * 0.23)) / number
    return partials(clock(rate), 196 * pitch * number, level, 3 + 1.2 * number, rate)


def drum(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A low sine that falls, with a thump of noise."""
    time = clock(rate)
    phase = 75 * pitch * (time + 0.05 * (1 - np.exp(-time / 0.04)))
    thump = band_noise(len(time), 60, 500, rate, rng) * np.exp(-time / 0.015)
    return np.sin(TURN * phase) * np.exp(-time / 0.11) + 0.6 * thump


def noise(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A short burst of a broad band."""
    time = clock(rate)
    return band_noise(len(time), 500 * pitch, 2200 * pitch, rate, rng) * np.exp(-time / 0.06)


def square(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Odd harmonics, held and let go."""
    time, number = clock(rate), np.arange(1, 20, 2)
    tone = partials(time, 330 * pitch * number, 1 / number, 0 * number, rate)
    return tone * np.clip((0.2 - time) / 0.02, 0, 1) * np.clip(time / 0.004, 0, 1)


def fm(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A growl: a carrier bent by a slower sine, whose depth falls."""
    time = clock(rate)
    bend = 7 * np.exp(-time / 0.2) * np.sin(TURN * 63 * pitch * time)
    return np.sin(TURN * 420 * pitch * time + bend) * np.exp(-time / 0.16)


def clicks(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A rattle: a train of bright clicks."""
    time = clock(rate)
    since = time % (1 / (38 * pitch))
    grain = np.sin(TURN * 3400 * since) * np.exp(-since / 0.0015)
    return grain * np.exp(-time / 0.12) * (1 - 0.5 * np.sin(TURN * 9 * time) ** 2)


def chirp(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Two quick upward sweeps."""
    time = clock(rate)
    place = time % 0.11
    phase = 1500 * pitch * place + 9000 * pitch * place**2
    gate = np.sin(np.pi * place / 0.11) ** 2 * (time < 0.22)
    return np.sin(TURN * phase) * gate


def vowel(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Harmonics under three fixed formants, with a little vibrato."""
    time, number = clock(rate), np.arange(1, 25)
    hertz = 140 * pitch * number
    level = np.full(len(hertz), 0.01)
    for formant, width, gain in ((720, 90, 1.0), (1150, 110, 0.7), (2600, 160, 0.35)):
        level += gain / (1 + ((hertz - formant) / width) ** 2)
    bent = time + np.float32(0.0004) * np.sin(TURN * 6 * time)
    voice = partials(bent, hertz, level, 0 * number, rate)
    return voice * np.clip(time / 0.03, 0, 1) * np.clip((0.32 - time) / 0.08, 0, 1)


def hiss(pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """High noise that comes fast and fades slowly."""
    time = clock(rate)
    band = band_noise(len(time), 3600 * pitch**0.5, 20000, rate, rng)
    return band * np.clip(time / 0.02, 0, 1) * np.clip((0.4 - time) / 0.38, 0, 1)


TIMBRES: dict[str, Callable[[float, int, np.random.Generator], np.ndarray]] = {
    "bell": bell,
    "pluck": pluck,
    "drum": drum,
    "noise": noise,
    "square": square,
    "fm": fm,
    "clicks": clicks,
    "chirp": chirp,
    "vowel": vowel,
    "hiss": hiss,
}


def note(timbre: str, pitch: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """One hit, with the energy of 0.15 s at level 1."""
    wave = TIMBRES[timbre](pitch, rate, rng).astype(np.float32)
    return wave / np.sqrt(np.square(wave).sum() / (0.15 * rate))
