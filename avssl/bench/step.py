"""`avssl bench step`: what one training step of a config costs on this machine, on noise."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from avssl.bench.avid_sizes import avid_sizes
from avssl.bench.model_flops import model_flops
from avssl.bench.peaks import peak_flops
from avssl.bench.section import written
from avssl.bench.torch_extra import torch_yardstick
from avssl.bench.where import where_lines
from avssl.config import ConfigDict
from avssl.data.open import open_source
from avssl.data.workers import num_cores
from avssl.evaluate.results import machine
from avssl.plan.compiled import flops_of, how_counted, peak_bytes_of
from avssl.plan.program import Program
from avssl.teachers.open import NO_TEACHERS, open_teachers
from avssl.train.build_model import build_model
from avssl.train.mesh import check_batch_divides
from avssl.train.model import Model
from avssl.train.run import build_setup, fresh_state

WARM_UP_STEPS = 2
# Of two that are compared: neither has the quiet half of the time to itself.
TURNS = 5


def random_batch(model: Model, batch_size: int) -> Any:
    """Noise in the shapes of the pipeline: zeros would make some losses and norms degenerate."""
    generator = np.random.default_rng(0)

    def noise(leaf: Any) -> np.ndarray:
        if leaf.dtype in (np.uint8, np.int16):
            bounds = np.iinfo(leaf.dtype)
            return generator.integers(bounds.min, bounds.max, leaf.shape, leaf.dtype, endpoint=True)
        return np.asarray(leaf)

    return jax.tree.map(noise, model.example_batch(batch_size))


class OurStep:
    """The compiled step of a config; a call takes one step on the same noise and waits for it."""

    def __init__(self, config: ConfigDict):
        check_batch_divides(config.batch_size, config.optimizer.accumulate, jax.device_count())
        teachers = NO_TEACHERS
        # They alone need the data: a store is of it, and a random network has its classes.
        if config.teachers:
            config, teachers = open_teachers(config, open_source(config.data.source))
        self.config, self.teachers = config, teachers
        self.model = build_model(config)
        setup = build_setup(config, self.model, teachers=teachers)
        self.state, self.frozen = fresh_state(setup), teachers.place(setup.frozen_shardings)
        self.batch = setup.step.place(random_batch(self.model, config.batch_size))
        started = time.perf_counter()
        self.compiled = setup.step.compile(
            self.state, self.frozen, self.model.example_batch, config.batch_size
        )
        self.compile_seconds = time.perf_counter() - started

    def __call__(self) -> None:
        self.state, logs = self.compiled(self.state, self.frozen, self.batch)
        jax.block_until_ready((self.state, logs))


def bench_step(
    config: ConfigDict,
    *,
    num_steps: int = 20,
    against: str = "",
    results: Path | None = None,
    name: str = "a config",
) -> Iterator[str]:
    """Lines for a person.

    against: "torch", where PyTorch takes as many steps of AVID, in turns with ours. results: a Markdown file
    that gets them as a table, too, in a section of the `name` of the config and of the device.
    """  # fmt: skip
    title = f"A step of {name}, batch {config.batch_size}, {config.precision}, on {devices_here()}"
    yield from written(measured_lines(config, num_steps, against), results, title)


def measured_lines(config: ConfigDict, num_steps: int, against: str) -> Iterator[str]:
    theirs = yardstick(config) if against else None
    ours = OurStep(config)
    yield f"machine      {machine()}"
    yield f"devices      {devices_here()}"
    yield f"compile      {ours.compile_seconds:.1f} s"
    rivals = {"ours": ours} if theirs is None else {"ours": ours, "theirs": theirs}
    median = seconds_in_turns(rivals, num_steps)
    per_step = median["ours"]
    yield f"step         {1e3 * per_step:.1f} ms (median of {num_steps})"
    yield f"throughput   {config.batch_size / per_step:.1f} clips/s"
    if theirs is not None:
        yield f"yardstick    {1e3 * median['theirs']:.1f} ms, taken in turns: {theirs}"
        yield f"ratio        {median['theirs'] / per_step:.2f} times as fast as the yardstick"
    program = Program(ours.compiled.as_text())
    yield from cost_lines(ours.compiled, program, per_step)
    yield from model_lines(ours, per_step)
    yield from where_lines(ours, program)


def devices_here() -> str:
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def yardstick(config: ConfigDict) -> Any:
    """What the config's step is compared with; refused before anything is compiled."""
    sizes = avid_sizes(config, build_model(config))
    return torch_yardstick("torch_step").TorchStep(sizes, num_threads())


def num_threads() -> int:
    """As many as XLA's own pool on a CPU has."""
    return int(os.environ.get("NPROC", 0)) or num_cores()


def seconds_in_turns(steps: Mapping[str, Callable[[], Any]], num_steps: int) -> dict[str, float]:
    """The median of so many steps of each, a few of one and then a few of the other."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(WARM_UP_STEPS):
            step()
    for turn in range(TURNS):
        for name, step in steps.items():
            for _ in range(turn, num_steps, TURNS):
                before = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - before)
    return {name: statistics.median(all_of_them) for name, all_of_them in seconds.items()}


def cost_lines(compiled: Any, program: Program, seconds: float) -> Iterator[str]:
    """seconds: of a step."""
    flops = flops_of(compiled, program)
    counted = "".join(f", {words}" for words in how_counted(program))
    yield f"FLOPs        {flops / 1e9:.2f} G per step and device{counted}"
    if peak := peak_flops(jax.devices()[0].device_kind):
        yield (
            f"utilisation  {flops / seconds / peak:.1%} of {peak / 1e12:.0f} TFLOP/s in bf16; what is computed "
            "anew (remat) counts as well"
        )
    if peak := peak_bytes_of(compiled):
        yield f"peak memory  {peak / 2**20:.0f} MiB per device, by the compiler's analysis"


def model_lines(ours: OurStep, seconds: float) -> Iterator[str]:
    """seconds: of a step. What is computed anew to save memory does not count: it trains nothing."""
    flops = model_flops(ours.config, ours.teachers) / jax.device_count()
    yield f"model FLOPs  {flops / 1e9:.2f} G per step and device: products, nothing computed anew"
    if peak := peak_flops(jax.devices()[0].device_kind):
        yield f"MFU          {flops / seconds / peak:.1%} of {peak / 1e12:.0f} TFLOP/s in bf16"
