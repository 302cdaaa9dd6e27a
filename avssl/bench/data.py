"""How fast the pipeline is, beside others over the same windows (`avssl bench data`).

Speeds are per core: clips by seconds of processor time, so that other work on the machine, and the
number of threads, hardly move them. With worker processes it is the clock that counts.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avssl.bench.bare import bare_clip
from avssl.bench.section import write_table
from avssl.bench.torch_extra import torch_yardstick
from avssl.bench.windows import decode_windows, first_windows
from avssl.data.joined import Join
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.record import Source
from avssl.data.views import View
from avssl.media.probe import probe

# Each is timed so often, in turns, and the best counts: what disturbs a run only makes it slower.
NUM_ROUNDS = 5

Joins = Callable[[Source], Mapping[str, Join]]


def bench_data(
    spec: str,
    views: Mapping[str, View],
    *,
    results: Path | None = None,
    name: str = "",
    **options: Any,
) -> list[str]:
    """What `avssl bench data` prints.

    results: a Markdown file that gets it as a table, too, in a section of the `name` of the views' config.
    """  # fmt: skip
    measured = {
        key: f"{value:.4g}" if isinstance(value, float) else str(value)
        for key, value in measure(spec, views, **options).items()
    }
    said = [f"{key} {value}" for key, value in measured.items()]
    if results is not None:
        title = f"Reading {spec} for {name or 'the default views'}"
        said.append(write_table(results, title, (), ("what", "measured"), measured.items()))
    return said


def measure(
    spec: str,
    views: Mapping[str, View],
    *,
    num_clips: int = 256,
    batch_size: int = 32,
    seed: int = 0,
    joins: Joins | None = None,
    versus: str = "",
    workers: Sequence[int] = (),
) -> dict[str, Any]:
    """Times the pipeline without workers and cache, its decoding alone, and the bare loop.

    `joins` gives the stores of targets for an opened source: the pipeline that joins them is timed, too.
    `versus`: "torch" times a DataLoader, too. `workers`: numbers of processes, each timed by the clock.
    """
    source = open_source(spec)
    batch_size = min(batch_size, len(source))
    num_batches = max(1, num_clips // batch_size)
    num_clips = num_batches * batch_size
    # One thread, as the bare loop: two would share a core's caches and each look slower.
    sizes: dict[str, Any] = dict(batch_size=batch_size, seed=seed)
    pipeline = Pipeline(source, views, read_threads=1, **sizes)
    # This round also fills the page cache and learns the length of each record.
    windows = first_windows(pipeline, num_batches)
    work: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: drain(pipeline, num_batches),
        "decode": lambda: decode_windows(pipeline.reader, windows),
        "bare": lambda: [bare_clip(source[w.index].media, w.starts) for w in windows],
    }
    # Without any where no objective asks for targets.
    if asked := joins(source) if joins is not None else {}:
        joined = Pipeline(source, views, read_threads=1, joins=asked, **sizes)
        work["joined"] = lambda: drain(joined, num_batches)
    if versus:
        loader = torch_yardstick("torch_data").torch_loader(
            source, views, windows, num_batches=num_batches, **sizes
        )
        work["torch"] = lambda: _exhaust(loader)
    measured = {
        "data": spec,
        **described(source, sorted({window.index for window in windows})),
        "clips": num_clips,
        **_speeds(best_seconds(work), num_clips),
    }
    for number in workers:
        warm = 2 * max(1, number)
        total = warm + num_batches
        clips = num_batches * batch_size
        with Pipeline(source, views, workers=number, **sizes).batches(stop_step=total) as batches:
            measured[f"workers_{number}_clips_per_second"] = clips / _seconds_after(warm, batches)
        if versus:
            loader = torch_yardstick("torch_data").torch_loader(
                source, views, windows, num_batches=total, workers=number, **sizes
            )
            seconds = _seconds_after(warm, loader)
            measured[f"workers_{number}_torch_clips_per_second"] = clips / seconds
    return measured


def described(source: Source, indices: Sequence[int]) -> dict[str, Any]:
    """The codecs of these records and how large they are."""
    codecs, num_bytes = set(), 0
    for media in (source[index].media for index in indices):
        found = probe(media)
        codecs.add("+".join(filter(None, (found.video_codec, found.audio_codec))))
        num_bytes += len(media) if isinstance(media, bytes) else os.path.getsize(media)
    return {"format": ",".join(sorted(codecs)), "bytes_per_clip": num_bytes // len(indices)}


def _speeds(seconds: Mapping[str, float], num_clips: int) -> dict[str, float]:
    per_second = {name: num_clips / taken for name, taken in seconds.items()}
    milliseconds = {name: 1e3 * taken / num_clips for name, taken in seconds.items()}
    speeds = {"clips_per_second_per_core": per_second["pipeline"]}
    if "joined" in seconds:
        speeds["clips_per_second_per_core_with_targets"] = per_second["joined"]
    speeds |= {
        "ms_decode": milliseconds["decode"],
        "ms_other": milliseconds["pipeline"] - milliseconds["decode"],
        "bare_clips_per_second_per_core": per_second["bare"],
        "share_of_bare_loop": per_second["pipeline"] / per_second["bare"],
    }
    if "torch" in seconds:
        speeds["torch_clips_per_second_per_core"] = per_second["torch"]
        speeds["times_torch"] = per_second["pipeline"] / per_second["torch"]
    return speeds


def seconds_of_rounds(work: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(NUM_ROUNDS):
        for name, function in work.items():
            began = time.process_time()
            function()
            taken[name].append(time.process_time() - began)
    return taken


def best_seconds(work: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    return {name: min(taken) for name, taken in seconds_of_rounds(work).items()}


def _seconds_after(warm: int, batches: Iterable[Any]) -> float:
    """How long the batches after the first `warm` took: processes need their time to start."""
    iterator, began = iter(batches), 0.0
    for number, _ in enumerate(iterator, start=1):
        if number == warm:
            began = time.perf_counter()
    return time.perf_counter() - began


def drain(pipeline: Pipeline, num_batches: int) -> None:
    with pipeline.batches(stop_step=num_batches) as batches:
        _exhaust(batches)


def _exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass
