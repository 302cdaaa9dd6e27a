"""Frames of sound as samples, several frames at a time: sound comes in many small ones."""

import itertools
import math
from collections.abc import Sequence

import av
import numpy as np

from avssl.media.channels import mix
from avssl.media.container import OpenMedia
from avssl.media.resample import Converter

# `to_ndarray` on planar frames of more channels than this reads past the end of FFmpeg's table.
MAX_PLANAR_CHANNELS = 7
# Sample formats that are read without a converter: their type, and the scale to [-1, 1].
DIRECT = {
    "flt": (np.float32, 1.0),
    "fltp": (np.float32, 1.0),
    "s16": (np.int16, 1 / 32768),
    "s16p": (np.int16, 1 / 32768),
}


class Unpacker:
    """Frames of any sample format to float32 [n, channels] in [-1, 1], without NaN or infinity."""

    def __init__(self, media: OpenMedia, channels: int):
        self._media = media
        self._channels = channels
        self._converters: dict[tuple[str, str], Converter] = {}

    def __call__(self, frames: Sequence[av.AudioFrame]) -> np.ndarray:
        alike = itertools.groupby(frames, lambda frame: (frame.format.name, frame.layout.name))
        parts = [self._mixed(list(group)) for _, group in alike]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _mixed(self, frames: list[av.AudioFrame]) -> np.ndarray:
        first = frames[0]
        num_channels = first.layout.nb_channels
        too_many = first.format.is_planar and num_channels > MAX_PLANAR_CHANNELS
        if first.format.name in DIRECT and not too_many:
            samples = _directly(frames, num_channels)
        else:
            samples = np.concatenate([block for f in frames for block in self._converted(f)])
        # One sum tells at a third of the cost that all is finite; it may overflow, hence the second look.
        if not math.isfinite(samples.sum()) and not (finite := np.isfinite(samples)).all():
            self._media.num_nonfinite_samples += int(samples.size - finite.sum())
            samples = np.where(finite, samples, np.float32(0))
        return mix(samples, first.layout, self._channels)

    def _converted(self, frame: av.AudioFrame) -> list[np.ndarray]:
        key = frame.format.name, frame.layout.name
        if key not in self._converters:
            rate = frame.sample_rate
            self._converters[key] = Converter(*key, rate, rate)
        return self._converters[key].push(frame)


def _directly(frames: list[av.AudioFrame], num_channels: int) -> np.ndarray:
    """A third of the time of `to_ndarray`."""
    dtype, scale = DIRECT[frames[0].format.name]
    num_rows = num_channels if frames[0].format.is_planar else 1
    per_row = num_channels // num_rows
    num_samples = sum(frame.samples for frame in frames)
    samples = np.empty((num_rows, num_samples * per_row), np.float32)
    for row, out in enumerate(samples):
        planes = (np.frombuffer(memoryview(frame.planes[row]), dtype) for frame in frames)
        lengths = (frame.samples * per_row for frame in frames)
        np.concatenate([p[:n] for p, n in zip(planes, lengths, strict=True)], out=out)
    samples = samples.T if num_rows > 1 else samples.reshape(-1, per_row)
    if scale != 1:
        samples *= np.float32(scale)
    return samples
