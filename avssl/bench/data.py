"""How fast the pipeline is, beside a bare PyAV loop over the same windows (`avssl bench data`).

All speeds are per core: clips by seconds of processor time, so that other work on the machine, and
the number of threads, hardly move them.
"""

import dataclasses
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import av
import numpy as np

from avssl.data.joined import Join
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.placement import place_in_time
from avssl.data.reader import BatchReader
from avssl.data.record import Source
from avssl.data.views import AudioView, VideoView, View
from avssl.errors import UsageError

# Each is timed so often, in turns, and the best counts: what disturbs a run only makes it slower.
NUM_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Window:
    """What one record gives in one row: its views, each with its start in the file."""

    index: int
    starts: tuple[tuple[View, float], ...]


def bench_data(
    spec: str,
    views: Mapping[str, View],
    *,
    num_clips: int = 256,
    joins: Callable[[Source], Mapping[str, Join]] | None = None,
) -> list[str]:
    """What `avssl bench data` prints; `joins` gives the stores of targets for an opened source."""
    measured = measure(spec, views, num_clips=num_clips, joins=joins)
    return [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in measured.items()
    ]


def measure(
    spec: str,
    views: Mapping[str, View],
    *,
    num_clips: int = 256,
    batch_size: int = 32,
    seed: int = 0,
    joins: Callable[[Source], Mapping[str, Join]] | None = None,
) -> dict[str, Any]:
    """Times the pipeline without workers and cache, its decoding alone, and the bare loop.

    With stores of targets also the pipeline that joins them.
    """
    source = open_source(spec)
    batch_size = min(batch_size, len(source))
    num_batches = max(1, num_clips // batch_size)
    num_clips = num_batches * batch_size
    # One thread, as the bare loop: two would share a core's caches and each look slower.
    pipeline = Pipeline(source, views, batch_size=batch_size, seed=seed, read_threads=1)
    # This round also fills the page cache and learns the length of each record.
    windows = _windows(pipeline, num_batches)
    if not windows:
        raise UsageError(f"'{spec}': none of its records has what the views show")
    reader = pipeline.reader
    work: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: _drain(pipeline, num_batches),
        "decode": lambda: _decode(reader, windows),
        "bare": lambda: [bare_clip(source[w.index].media, w.starts) for w in windows],
    }
    # Without any where no objective asks for targets.
    if asked := joins(source) if joins is not None else {}:
        joined = Pipeline(
            source, views, batch_size=batch_size, seed=seed, read_threads=1, joins=asked
        )  # fmt: skip
        work["joined"] = lambda: _drain(joined, num_batches)
    best = _best_seconds(work)
    milliseconds = {name: 1e3 * seconds / num_clips for name, seconds in best.items()}
    with_targets = (
        {"clips_per_second_per_core_with_targets": 1e3 / milliseconds["joined"]}
        if "joined" in milliseconds
        else {}
    )
    return {
        "data": spec,
        "clips": num_clips,
        "clips_per_second_per_core": 1e3 / milliseconds["pipeline"],
        **with_targets,
        "ms_decode": milliseconds["decode"],
        "ms_other": milliseconds["pipeline"] - milliseconds["decode"],
        "bare_clips_per_second_per_core": 1e3 / milliseconds["bare"],
        "share_of_bare_loop": milliseconds["bare"] / milliseconds["pipeline"],
    }


def _best_seconds(work: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    best = dict.fromkeys(work, float("inf"))
    for _ in range(NUM_ROUNDS):
        for name, function in work.items():
            began = time.process_time()
            function()
            best[name] = min(best[name], time.process_time() - began)
    return best


def _drain(pipeline: Pipeline, num_batches: int) -> None:
    with pipeline.batches(stop_step=num_batches) as batches:
        for _ in batches:
            pass


def _windows(pipeline: Pipeline, num_batches: int) -> list[Window]:
    """The windows of the first batches, substitutes in the place of what cannot be read."""
    reader = pipeline.reader
    windows = []
    with pipeline.batches(stop_step=num_batches) as batches:
        indices = [index for batch in batches for index in batch["index"].tolist()]
    for position, index in enumerate(indices):
        with reader.handle(index) as handle:
            starts = place_in_time(
                reader.views, reader.windows, duration_seconds=handle.duration_seconds,
                seed=reader.seed, position=position,
            )  # fmt: skip
            shown = [(view, handle.start_seconds + start) for view, times in starts.items()
                     for start in times if handle.has[view.modality]]  # fmt: skip
        windows.append(Window(index, tuple(sorted(shown, key=lambda pair: pair[0].modality))))
    return [window for window in windows if window.starts]


def _decode(reader: BatchReader, windows: list[Window]) -> None:
    """The part of the pipeline's work that is decoding."""
    for window in windows:
        with reader.handle(window.index) as handle:
            for view, start in window.starts:
                if isinstance(view, VideoView):
                    reader.decoder.frames(handle, view, start - handle.start_seconds)
                else:
                    reader.decoder.audio(handle, view, start - handle.start_seconds)


def bare_clip(media: bytes | str, starts: tuple[tuple[View, float], ...]) -> list[np.ndarray]:
    """One clip as a few lines of PyAV would read it: no limits, no checks, no cropping."""
    arrays = []
    with av.open(io.BytesIO(media) if isinstance(media, bytes) else media) as container:
        for view, start in starts:
            if isinstance(view, VideoView):
                arrays.append(_bare_frames(container, view, start))
            else:
                arrays.append(_bare_samples(container, view, start))
    return arrays


def _bare_frames(container: Any, view: VideoView, start: float) -> np.ndarray:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    container.seek(int(start / stream.time_base), stream=stream)
    wanted = start + np.arange(view.frames) / view.fps
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
    layout = {1: "mono", 2: "stereo", 4: "4.0"}[view.channels]
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
