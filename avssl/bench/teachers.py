"""`avssl bench teachers`: the same targets computed in the step and read from stores, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from avssl.bench.data import described, drain, seconds_of_rounds
from avssl.bench.section import origin, write_table
from avssl.bench.step import OurStep, seconds_in_turns
from avssl.bench.windows import first_windows
from avssl.config import ConfigDict, from_json
from avssl.data.joined import Join
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.record import Source
from avssl.errors import UsageError
from avssl.evaluate.results import markdown_table
from avssl.teachers.open import asked_targets, open_teachers
from avssl.teachers.store import TargetStore
from avssl.train.build_model import build_model
from avssl.train.run import with_num_records
from avssl.train.stream import joins

HEADER = ("targets", "pipeline, clips/s per core", "step, clips/s", "bytes per clip")


def bench_teachers(
    config: ConfigDict, *, num_clips: int = 1024, num_steps: int = 20, results: Path | None = None
) -> Iterator[str]:
    """Lines for a person: speeds of pipeline and step with teachers online and stored, and what stores take.

    The pipeline is timed without cache and workers, the step on noise, in turns. Only the stored teachers
    of the config differ between the two; each must name its `run`, too.
    """
    source = open_source(config.data.source)
    cached, online = both_ways(with_num_records(config, source))
    pipelines = {
        "online": student_pipeline(online, source),
        "cached": student_pipeline(cached, source),
        "cached, not joined": student_pipeline(cached, source, joined=False),
    }
    windows = first_windows(pipelines["online"], 1)
    num_batches = max(1, num_clips // config.batch_size)
    rounds = seconds_of_rounds(
        {name: lambda one=one: drain(one, num_batches) for name, one in pipelines.items()}
    )
    clips = num_batches * config.batch_size
    steps = seconds_in_turns({"online": OurStep(online), "cached": OurStep(cached)}, num_steps)
    stores = {name: TargetStore(cached.teachers[name].store) for name in asked_and_stored(cached)}
    taken = sum(store.bytes_per_clip for store in stores.values())
    sizes = {"online": "0", "cached": f"{taken:,.0f}"}
    table = [
        [
            name,
            f"{clips / of_all:.1f}",
            f"{config.batch_size / steps[name]:.1f}" if name in steps else "–",
            sizes.get(name, "–"),
        ]
        for name, of_all in ((name, min(taken)) for name, taken in rounds.items())
    ]
    facts = [
        joining_fact(rounds["cached"], rounds["cached, not joined"]),
        *map(store_fact, stores, stores.values()),
        media_fact(source, sorted({window.index for window in windows})),
        f"batches of {config.batch_size}, {clips} clips, {num_steps} steps",
    ]
    yield from (f"- {fact}" for fact in (*facts, *origin()))
    yield from ("", markdown_table(HEADER, table).rstrip())
    if results is not None:
        yield write_table(results, "Teachers online and from stores", facts, HEADER, table)


def both_ways(config: ConfigDict) -> tuple[ConfigDict, ConfigDict]:
    """(the config, the same with its stored teachers online)."""
    online = from_json(config.to_dict())
    stored = asked_and_stored(config)
    if not stored:
        raise UsageError(
            "no teacher that an objective asks has a store: set teachers.NAME.store to what `avssl teach` wrote"
        )
    for name in stored:
        if not config.teachers[name].run:
            raise UsageError(
                f"teachers.{name} has a store alone: set teachers.{name}.run to the teacher that wrote it"
            )
        online.teachers[name].store = ""
        # Of a store or of weights: never the same.
        online.teachers[name].hash = ""
    return config, online


def student_pipeline(config: ConfigDict, source: Source, *, joined: bool = True) -> Pipeline:
    """What a run of the config reads, with one thread."""
    config, teachers = open_teachers(config, source)
    model = build_model(config)
    asked: Mapping[str, Join] = joins(config, model, teachers) if joined else {}
    return Pipeline(
        source, dict(model.views), batch_size=config.batch_size, seed=config.seed, read_threads=1,
        joins=asked,
    )  # fmt: skip


def asked_and_stored(config: ConfigDict) -> list[str]:
    return [name for name in asked_targets(config) if config.teachers[name].store]


def joining_fact(joined: Sequence[float], plain: Sequence[float]) -> str:
    """What the best rounds differ by, if it is more than rounds differ by themselves."""
    cost = min(joined) / min(plain) - 1
    spread = float(np.std(np.divide(joined, plain), ddof=1))
    if cost <= spread:
        return f"joining costs nothing measurable (±{spread:.1%} of the pipeline's time)"
    return f"joining costs {cost:.1%} ± {spread:.1%} of the pipeline's time"


def store_fact(teacher: str, store: TargetStore) -> str:
    kinds = ", ".join(store.encoding.shapes)
    return (
        f"teacher '{teacher}': {kinds} in {store.encoding.dtype}, {store.kind_of_windows}: "
        f"{store.bytes_per_clip:,.0f} bytes per clip"
    )


def media_fact(source: Source, indices: list[int]) -> str:
    media = described(source, indices)
    return f"{source.spec}: {media['format']}, {media['bytes_per_clip']:,} bytes per clip"
