"""From the channels that a track has to those that are asked for.

Four channels mean first-order ambisonics (ACN order W, Y, Z, X; SN3D), so speakers are encoded by
their azimuth and ambisonics are heard through two cardioids. A down-mix is a mean: it never clips.
Channels without places, as those of several microphones, are no loudspeakers: all of them are heard in
the middle. Eight channels mean eight microphones, which nothing else can be turned into.
"""

import functools
import math

import av
import numpy as np

from avssl.errors import UsageError
from avssl.media.errors import MediaError

CHANNELS = (1, 2, 4)
MICROPHONES = 8
# Degrees to the left of straight ahead (ITU-R BS.775); the rest alternates left and right.
AZIMUTH = {
    "FC": 0, "FL": 30, "FR": -30, "FLC": 15, "FRC": -15, "SL": 90, "SR": -90, "BL": 110, "BR": -110,
    "BC": 180, "DL": 30, "DR": -30, "WL": 60, "WR": -60, "TC": 0, "TFC": 0, "TFL": 30, "TFR": -30,
    "TBC": 180, "TBL": 110, "TBR": -110, "TSL": 90, "TSR": -90,
}  # fmt: skip
# Recorders and AAC give ambisonics of order 1, 2 and 3 no layout of their own.
AMBISONIC_COUNTS = (4, 9, 16)
SUBWOOFERS = {"LFE", "LFE2"}
EAR_DEGREES = 30


def check_channels(channels: int) -> None:
    if channels not in (*CHANNELS, MICROPHONES):
        raise UsageError(f"audio can be decoded to 1, 2, 4 or 8 channels, not to {channels}")


def mix(samples: np.ndarray, layout: av.AudioLayout, channels: int) -> np.ndarray:
    """float32 [n, track's channels] -> float32 [n, channels]"""
    if samples.shape[1] == channels:
        return samples
    if channels == MICROPHONES:
        raise MediaError(
            f"its sound has {samples.shape[1]} channels, and not {MICROPHONES} microphones"
        )
    matrix = _matrix(layout.name, samples.shape[1], channels)
    # No product of matrices, whose last bit may depend on how many rows it has.
    mixed = samples[:, :1] * matrix[0]
    for channel in range(1, len(matrix)):
        mixed += samples[:, channel : channel + 1] * matrix[channel]
    return mixed


def mirrored(samples: np.ndarray) -> np.ndarray:
    """int16 [n, channels] as it sounds where left and right have changed places."""
    channels = samples.shape[1]
    if channels == 2:
        return samples[:, ::-1]
    if channels != 4:
        raise ValueError(f"of {channels} channels it is not known which are left and right")
    turned = samples.copy()
    # Y alone points to a side. The lowest number has no opposite.
    turned[:, 1] = -np.maximum(samples[:, 1], -np.iinfo(samples.dtype).max)
    return turned


@functools.lru_cache(maxsize=64)
def _matrix(layout: str, num_source: int, channels: int) -> np.ndarray:
    """float32 [num_source, channels]"""
    if channels == 1 and not layout.startswith("ambisonic"):
        return np.full((num_source, 1), 1 / num_source, np.float32)
    if layout.startswith("ambisonic") or (num_source in AMBISONIC_COUNTS and layout != "quad"):
        from_ambisonics = {
            1: [[1.0], [0.0]],
            2: [[0.5, 0.5], [0.5, -0.5]],
            4: [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]],
        }[channels]
        matrix = np.zeros((num_source, channels), np.float32)
        matrix[: len(from_ambisonics)] = from_ambisonics
        return matrix
    if num_source == 1:
        return np.array([{2: [1.0, 1.0], 4: [1.0, 0, 0, 0]}[channels]], np.float32)
    if num_source > 2 and layout == f"{num_source} channels":
        # FFmpeg's name where it knows the number alone; two are left and right all the same.
        matrix = np.zeros((num_source, channels), np.float32)
        # Both ears, or W alone.
        matrix[:, : 2 if channels == 2 else 1] = 1 / num_source
        return matrix
    azimuths = _azimuths(layout, num_source)
    to_left = np.sin(np.radians(azimuths))
    if channels == 2:
        left = 0.5 + 0.5 * np.clip(to_left / math.sin(math.radians(EAR_DEGREES)), -1, 1)
        matrix = np.stack([left, 1 - left], axis=1)
        matrix[np.isnan(azimuths)] = 0
        return (matrix / matrix.sum(axis=0)).astype(np.float32)
    ahead = np.cos(np.radians(azimuths))
    matrix = np.stack([np.ones(num_source), to_left, np.zeros(num_source), ahead], axis=1)
    matrix[np.isnan(azimuths)] = 0
    return (matrix / matrix[:, 0].sum()).astype(np.float32)


def _azimuths(layout: str, num_source: int) -> np.ndarray:
    """Degrees; NaN where a channel has no direction."""
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    azimuths = np.full(num_source, math.nan)
    for index, name in enumerate(names[:num_source]):
        if name not in SUBWOOFERS:
            unknown = EAR_DEGREES if index % 2 == 0 else -EAR_DEGREES
            azimuths[index] = AZIMUTH.get(name, unknown)
    return azimuths
