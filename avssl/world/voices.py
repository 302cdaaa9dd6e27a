"""Speech-like syllables: a voice's own source through its own formants, one wave a syllable."""

import math

import numpy as np

from avssl.world.persons import CONSONANTS, VOWELS, Person
from avssl.world.timbre import band_noise

# First three formants (Hz) of a tract of length 1.
FORMANTS = {
    "a": (740, 1200, 2550),
    "e": (470, 1850, 2550),
    "i": (300, 2250, 3000),
    "o": (460, 850, 2500),
    "u": (330, 750, 2350),
}
WIDTHS = (80, 110, 170)
# Band of the noise that each consonant begins with, its length (s) and its level.
ONSETS = {
    "b": (100, 900, 0.012, 0.7),
    "d": (1500, 3600, 0.014, 0.6),
    "m": (120, 420, 0.05, 0.35),
    "s": (3800, 7500, 0.07, 0.45),
    "sh": (1800, 4200, 0.07, 0.5),
    "t": (2600, 6500, 0.025, 0.7),
}
assert set(ONSETS) == set(CONSONANTS)
assert set(FORMANTS) == set(VOWELS)
LEVEL = 0.9  # so that a syllable is about as loud as a hit


def syllables(person: Person, rate: int, seconds: float) -> list[np.ndarray]:
    """Mono float32 waves, of the syllables that begin in the clip."""
    rng = np.random.default_rng(person.seed)
    starts = np.asarray(person.event_seconds)
    return [
        syllable(person, number, float(starts[number]), rate, seconds, rng)
        for number in person.said(seconds)
    ]


def syllable(
    person: Person, number: int, start: float, rate: int, seconds: float, rng: np.random.Generator
) -> np.ndarray:
    voice, delivery, word = person.identity.voice, person.delivery, person.words[number]
    length = float(person.syllable_seconds[number])
    time = np.arange(round(length * rate)) / rate
    knots = np.linspace(0, seconds, len(delivery.melody))
    melody = np.interp(start + time, knots, delivery.melody)
    vibrato = 1 + voice.vibrato_depth * np.sin(2 * np.pi * voice.vibrato_hertz * (start + time))
    hertz = voice.hertz * delivery.pitch * melody * vibrato
    turns = np.cumsum(hertz) / rate
    source = pulses(turns, hertz / rate)
    source += voice.breath * rng.standard_normal(len(source))
    size = 1 << (len(source) + rate // 50 - 1).bit_length()
    spectrum = np.fft.rfft(source, size) * response(person, word[-1], size, rate)
    wave = np.fft.irfft(spectrum, size)[: len(source)]
    wave *= np.clip(time / 0.02, 0, 1) * np.clip((length - time) / 0.05, 0, 1)
    wave /= max(math.sqrt(np.square(wave).mean()), 1e-9)
    low, high, burst_seconds, level = ONSETS[word[:-1]]
    noise = band_noise(size, low * voice.tract, high * voice.tract, rate, rng)[: len(wave)]
    noise *= level * np.exp(-time / burst_seconds) / max(math.sqrt(np.square(noise).mean()), 1e-9)
    return (LEVEL * (wave + noise)).astype(np.float32)


def pulses(turns: np.ndarray, turns_a_sample: np.ndarray) -> np.ndarray:
    """A train of pulses: a sawtooth whose jumps are rounded off, so that nothing is folded back."""
    place = turns % 1
    saw = 2 * place - 1
    after, before = place < turns_a_sample, place > 1 - turns_a_sample
    ahead, behind = place / turns_a_sample, (place - 1) / turns_a_sample
    saw -= np.where(after, 2 * ahead - ahead**2 - 1, 0)
    return saw - np.where(before, behind**2 + 2 * behind + 1, 0)


def response(person: Person, vowel: str, size: int, rate: int) -> np.ndarray:
    """The voice's spectrum of a vowel, and what the microphone makes of it."""
    voice = person.identity.voice
    hertz = np.fft.rfftfreq(size, 1 / rate)
    level = np.full(len(hertz), 0.02)
    own = np.array(FORMANTS[vowel]) * voice.vowels[VOWELS.index(vowel)] * voice.tract
    formants = [*own, 3500 * voice.tract]
    for formant, width, gain in zip(formants, (*WIDTHS, 250), (1, 0.7, 0.35, 0.2), strict=True):
        level += gain / (1 + ((hertz - formant) / (width * voice.sharpness)) ** 2)
    octaves = np.log2(np.maximum(hertz, 100) / 500)
    # A sawtooth falls by 6 dB an octave by itself.
    return level * 10 ** ((voice.tilt + 6 + person.delivery.colour) * octaves / 20)
