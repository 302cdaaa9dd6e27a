"""From a scene to its audio: hits at the onsets, placed by direction and distance, in a room.

Stereo, or first-order ambisonics where the scene is all round.
"""

import math

import numpy as np

from avssl.world.ambisonics import DIFFUSE_WEIGHTS, plane_wave
from avssl.world.directions import directions
from avssl.world.engines import engine
from avssl.world.music import draw_music
from avssl.world.passing import Vehicle
from avssl.world.persons import Person
from avssl.world.scene import SOUND, Scene, draw_clean_scene, stream
from avssl.world.things import Thing
from avssl.world.timbre import fast_length, note
from avssl.world.voices import syllables

HEAD_RADIUS_METRES = 0.0875
SOUND_METRES_PER_SECOND = 343.0
REFERENCE_METRES = 1.5
# Reading between samples dulls a sound, each ear's by another amount: between finer ones, by little.
OVERSAMPLING = 2
PASSING_METRES = 6.0  # the reference distance of vehicles
LEVEL = 0.2  # of a hit of loudness and strength 1 at the reference distance
HIGHEST_PEAK = 0.95  # of ambisonics
# How a diffuse sound is spread over so many channels.
DIFFUSE = {1: np.ones(1, np.float32), 2: np.ones(2, np.float32), 4: DIFFUSE_WEIGHTS}


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
    if isinstance(thing, Person):
        hits = syllables(thing, rate, scene.world.seconds)
    else:
        hit = note(thing.kind.timbre, thing.pitch, rate, np.random.default_rng(thing.seed))
        hits = [hit] * len(onsets)
    # The path is asked for in the frames and read between them: outside of `path` it would be
    # moved into the picture by another amount.
    x = np.interp(onsets, scene.frame_seconds, thing.path(scene.frame_seconds).x)
    nearness = REFERENCE_METRES / max(thing.distance_metres, 0.3)
    azimuths = thing.azimuths(x)
    for hit, onset, strength, azimuth in zip(hits, onsets, strengths, azimuths, strict=True):
        wave = hit * np.float32(LEVEL * thing.loudness * strength)
        add_delayed(send, wave, onset * rate)
        if len(ears) == 1:
            add_delayed(ears[0], wave * np.float32(nearness), onset * rate)
            continue
        for ear, delay, gain in zip(ears, ear_delays(azimuth), ear_gains(azimuth), strict=True):
            add_delayed(ear, wave * np.float32(gain * nearness), (onset + delay) * rate)


def add_vehicle(ears: np.ndarray, send: np.ndarray, vehicle: Vehicle, scene: Scene) -> None:
    """Its engine to the ears, as late and as loud as its way makes it at each moment."""
    rate = scene.world.audio_rate
    # The way is smooth: it is followed a hundred times a second, and straight between.
    knots = np.arange(math.ceil(scene.world.seconds * 100) + 1) / 100
    aside = vehicle.metres_aside(knots)
    metres = np.hypot(aside, vehicle.distance_metres)
    azimuths = np.arctan2(aside, vehicle.distance_metres)
    nearness = PASSING_METRES / metres
    times = np.arange(len(send)) / rate
    lead = metres.max() / SOUND_METRES_PER_SECOND + 0.01
    fine_rate = OVERSAMPLING * rate
    wave = engine(
        vehicle.kind.timbre, vehicle.pitch, scene.world.seconds + lead, fine_rate, vehicle.seed
    )
    wave *= np.float32(LEVEL * vehicle.loudness)
    arrivals = lead - metres / SOUND_METRES_PER_SECOND

    def heard_at(delays: np.ndarray, gains: np.ndarray) -> np.ndarray:
        places = (times + np.interp(times, knots, arrivals - delays)) * fine_rate
        before = places.astype(np.intp)
        share = (places - before).astype(np.float32)
        sound = wave[before] + share * (wave[before + 1] - wave[before])
        return sound * np.interp(times, knots, gains).astype(np.float32)

    send += heard_at(np.zeros_like(knots), nearness)
    if len(ears) == 1:
        ears[0] += heard_at(np.zeros_like(knots), nearness)
        return
    delays = np.array([ear_delays(azimuth) for azimuth in azimuths.tolist()]).T
    gains = np.array([ear_gains(azimuth) for azimuth in azimuths.tolist()]).T
    for ear, delay, gain in zip(ears, delays, gains, strict=True):
        ear += heard_at(delay, gain * nearness)


def between_frames(values: np.ndarray, frames_per_sample: float, num_samples: int) -> np.ndarray:
    """float32 [3, m] from [n, 3] by linear interpolation; after the last frame nothing moves."""
    places = np.minimum(np.arange(num_samples) * frames_per_sample, len(values) - 1)
    before = np.minimum(places.astype(np.intp), len(values) - 2)
    share = (places - before).astype(np.float32)
    axes = values.T.astype(np.float32)
    steps = np.diff(axes, axis=1)
    return np.stack(
        [axis[before] + step[before] * share for axis, step in zip(axes, steps, strict=True)]
    )


def add_thing_around(field: np.ndarray, send: np.ndarray, thing: Thing, scene: Scene) -> None:
    """Its hits to the four channels, from wherever it is at each moment, and to the room."""
    onsets, strengths = thing.hits(scene.world.seconds)
    rate, times = scene.world.audio_rate, scene.frame_seconds
    hit = note(thing.kind.timbre, thing.pitch, rate, np.random.default_rng(thing.seed))
    line = np.zeros_like(send)
    for onset, strength in zip(onsets, strengths, strict=True):
        wave = hit * np.float32(LEVEL * thing.loudness * strength)
        add_delayed(line, wave, onset * rate)
    send += line
    nearness = REFERENCE_METRES / max(thing.distance_metres, 0.3)
    where = between_frames(directions(thing, thing.path(times)), scene.world.fps / rate, len(send))
    field += plane_wave(line * np.float32(nearness), where)


def reverberate(send: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """[c, m]: the send in a room whose echo is noise that fades by 60 dB in `reverb_seconds`."""
    weights = DIFFUSE[scene.world.num_channels]
    rate, room = scene.world.audio_rate, scene.room
    length = math.ceil(room.reverb_seconds * rate)
    time = np.arange(length, dtype=np.float32) / rate
    echo = rng.standard_normal((len(weights), length), dtype=np.float32)
    echo *= np.exp(np.float32(-6.9 / room.reverb_seconds) * time)
    echo *= room.reverb_level / np.sqrt(np.square(echo).sum(axis=1, keepdims=True))
    echo *= weights[:, None]
    gap = round(0.005 * rate)  # the first reflection comes after the direct sound
    total = fast_length(len(send) + length)
    wet = np.fft.irfft(np.fft.rfft(send, total) * np.fft.rfft(echo, total), total)
    return np.pad(wet, ((0, 0), (gap, 0)))[:, : len(send)]


def mix(scene: Scene) -> tuple[np.ndarray, list[Thing]]:
    """What the scene's own objects sound like (float32 [c, m]), and which of them are heard."""
    rng = stream(scene.world, scene.split, scene.index, SOUND)
    num_samples = scene.world.num_samples
    weights = DIFFUSE[scene.world.num_channels]
    channels = np.zeros((len(weights), num_samples), np.float32)
    heard = [thing for thing in scene.things if thing.sounds]
    if scene.fault == "silence":
        heard = []
    if heard:
        send = np.zeros(num_samples, np.float32)
        for thing in heard:
            if isinstance(thing, Vehicle):
                add_vehicle(channels, send, thing, scene)
            elif scene.world.projection == "sphere":
                add_thing_around(channels, send, thing, scene)
            else:
                add_thing(channels, send, thing, scene)
        channels += reverberate(send, scene, rng)
    noise = rng.standard_normal(channels.shape, dtype=np.float32)
    channels += noise * np.float32(scene.room.noise_level) * weights[:, None]
    if scene.fault == "music":
        channels += draw_music(num_samples, scene.world.audio_rate, rng)
    return channels, heard


def heard_scene(scene: Scene) -> Scene:
    """The scene that the clip's audio was recorded in: another one where the audio is swapped."""
    if scene.swapped_index is None:
        return scene
    return draw_clean_scene(scene.world, scene.split, scene.swapped_index)


def record(scene: Scene) -> tuple[np.ndarray, list[Thing]]:
    """The clip's audio, int16 [m, c], and the objects (of this clip or another) that are heard."""
    channels, heard = mix(heard_scene(scene))
    if scene.world.projection == "sphere":
        # One gain for all: bent each for itself, the channels would tell of another direction.
        channels *= min(1, HIGHEST_PEAK / np.abs(channels).max())
    else:
        channels = np.tanh(channels)
    return np.round(channels.T * 32767).astype(np.int16), heard
