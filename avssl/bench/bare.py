"""The same clips as a few good lines of PyAV would read them: no limits, no checks, no cropping."""

import io
from typing import Any

import av
import numpy as np

from avssl.data.views import AudioView, VideoView, View
from avssl.media.container import names_of


def bare_clip(media: bytes | str, starts: tuple[tuple[View, float], ...]) -> list[np.ndarray]:
    """The windows that start at these times, each from the keyframe before it on, by one thread."""
    arrays = []
    with av.open(io.BytesIO(media) if isinstance(media, bytes) else media) as container:
        for view, start in starts:
            if isinstance(view, VideoView):
                arrays.append(_bare_frames(container, view, start))
            else:
                arrays.append(_bare_samples(container, view, start))
    return arrays


def _bare_frames(container: Any, view: VideoView, start: float) -> np.ndarray:
    tracks = container.streams.video
    stream = next(track for track in tracks if not view.stream or view.stream in names_of(track))
    stream.codec_context.thread_count = 1
    container.seek(int(start / stream.time_base), stream=stream)
    wanted = start + view.times
    shown: list[np.ndarray] = []
    last = None
    for frame in container.decode(stream):
        while last is not None and len(shown) < view.frames and frame.time > wanted[len(shown)]:
            shown.append(_bare_pixels(last, view.decode_size))
        last = frame
        if len(shown) == view.frames:
            break
    while len(shown) < view.frames:
        shown.append(_bare_pixels(last, view.decode_size))
    return np.stack(shown)


def _bare_pixels(frame: Any, short_side: int) -> np.ndarray:
    scale = short_side / min(frame.width, frame.height)
    width, height = round(frame.width * scale), round(frame.height * scale)
    return frame.to_ndarray(format="rgb24", width=width, height=height)


def _bare_samples(container: Any, view: AudioView, start: float) -> np.ndarray:
    stream = container.streams.audio[0]
    stream.codec_context.thread_count = 1
    container.seek(int(start / stream.time_base), stream=stream)
    layout = {1: "mono", 2: "stereo", 4: "4.0", 8: "7.1"}[view.channels]
    resampler = av.AudioResampler(format="s16", layout=layout, rate=view.rate)
    blocks, skip, held = [], None, 0
    for frame in container.decode(stream):
        skip = max(0, round((start - frame.time) * view.rate)) if skip is None else skip
        for resampled in resampler.resample(frame):
            blocks.append(resampled.to_ndarray().reshape(-1, view.channels))
            held += len(blocks[-1])
        if held >= skip + view.num_samples:
            break
    samples = np.zeros((view.num_samples, view.channels), np.int16)
    found = np.concatenate(blocks)[skip or 0 :][: view.num_samples] if blocks else samples[:0]
    samples[: len(found)] = found
    return samples
