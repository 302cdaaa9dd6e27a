"""From a scene to stereo audio: hits at the onsets, placed by azimuth and distance, in a room."""

import math

import numpy as np

from avssl.world.music import draw_music
from avssl.world.scene import SOUND, Scene, Thing, draw_clean_scene, stream
from avssl.world.timbre import note

HEAD_RADIUS_METRES = 0.0875
SOUND_METRES_PER_SECOND = 343.0
REFERENCE_METRES = 1.5
LEVEL = 0.2  # of a hit of loudness and strength 1 at the reference distance


def ear_delays(azimuth: float) -> tuple[float, float]:
    """Seconds (left, right) after the near ear, by Woodworth's formula for a sphere."""
    side = abs(azimuth)
    lag = HEAD_RADIUS_METRES / SOUND_METRES_PER_SECOND * (side + math.sin(side))
    return (lag, 0.0) if azimuth > 0 else (0.0, lag)


def ear_gains(azimuth: float) -> tuple[float, float]:
    """(left, right): 12 dB between the ears for a source at the side."""
    half_difference = 10 ** (6 / 20 * math.sin(azimuth))
    return 1 / half_difference, half_difference


def add_delayed(line: np.ndarray, wave: np.ndarray, place: float) -> None:
    """Adds `wave` to `line` from sample `place` on, between samples by linear interpolation."""
    start = math.floor(place)
    share = np.float32(place - start)
    for offset, weight in ((start, 1 - share), (start + 1, share)):
        length = min(len(wave), len(line) - offset)
        if length > 0:
            line[offset : offset + length] += weight * wave[:length]


def add_thing(ears: np.ndarray, send: np.ndarray, thing: Thing, scene: Scene) -> None:
    """Its hits to the two ears and, without direction or distance, to the room."""
    onsets, strengths = thing.hits(scene.world.seconds)
    if not len(onsets):
        return
    rate = scene.world.audio_rate
    hit = note(thing.kind.timbre, thing.pitch, rate, np.random.default_rng(thing.seed))
    # The path is asked for in the frames and read between them: outside of `path` it would be
    # moved into the picture by another amount.
    x = np.interp(onsets, scene.frame_seconds, thing.path(scene.frame_seconds).x)
    nearness = REFERENCE_METRES / max(thing.distance_metres, 0.3)
    for onset, strength, azimuth in zip(onsets, strengths, thing.azimuths(x), strict=True):
        wave = hit * np.float32(LEVEL * thing.loudness * strength)
        add_delayed(send, wave, onset * rate)
        for ear, delay, gain in zip(ears, ear_delays(azimuth), ear_gains(azimuth), strict=True):
            add_delayed(ear, wave * np.float32(gain * nearness), (onset + delay) * rate)


def reverberate(send: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """[2, m]: the send in a room whose echo is noise that fades by 60 dB in `reverb_seconds`."""
    rate, room = scene.world.audio_rate, scene.room
    length = math.ceil(room.reverb_seconds * rate)
    time = np.arange(length, dtype=np.float32) / rate
    echo = rng.standard_normal((2, length), dtype=np.float32)
    echo *= np.exp(np.float32(-6.9 / room.reverb_seconds) * time)
    echo *= room.reverb_level / np.sqrt(np.square(echo).sum(axis=1, keepdims=True))
    gap = round(0.005 * rate)  # the first reflection comes after the direct sound
    total = fast_length(len(send) + length)
    wet = np.fft.irfft(np.fft.rfft(send, total) * np.fft.rfft(echo, total), total)
    return np.pad(wet, ((0, 0), (gap, 0)))[:, : len(send)]


def fast_length(length: int) -> int:
    """The next size of which the Fourier transform is fast: 2^k or 3 * 2^k."""
    power = 1 << (length - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= length else power


def mix(scene: Scene) -> tuple[np.ndarray, list[Thing]]:
    """What the scene's own objects sound like (float32 [2, m]), and which of them are heard."""
    rng = stream(scene.world, scene.split, scene.index, SOUND)
    num_samples = scene.world.num_samples
    ears = np.zeros((2, num_samples), np.float32)
    heard = [thing for thing in scene.things if thing.event_seconds is not None]
    if scene.fault == "silence":
        heard = []
    if heard:
        send = np.zeros(num_samples, np.float32)
        for thing in heard:
            add_thing(ears, send, thing, scene)
        ears += reverberate(send, scene, rng)
    ears += rng.standard_normal(ears.shape, dtype=np.float32) * np.float32(scene.room.noise_level)
    if scene.fault == "music":
        ears += draw_music(num_samples, scene.world.audio_rate, rng)
    return ears, heard


def heard_scene(scene: Scene) -> Scene:
    """The scene that the clip's audio was recorded in: another one where the audio is swapped."""
    if scene.swapped_index is None:
        return scene
    return draw_clean_scene(scene.world, scene.split, scene.swapped_index)


def record(scene: Scene) -> tuple[np.ndarray, list[Thing]]:
    """The clip's audio, int16 [m, 2], and the objects (of this clip or another) that are heard."""
    ears, heard = mix(heard_scene(scene))
    return np.round(np.tanh(ears.T) * 32767).astype(np.int16), heard
