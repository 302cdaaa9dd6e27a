"""`avssl bench step`: what one training step of a config costs on this machine, on noise."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from avssl.config import ConfigDict
from avssl.data.open import open_source
from avssl.teachers.open import NO_TEACHERS, open_teachers
from avssl.train.build_model import build_model
from avssl.train.mesh import check_batch_divides
from avssl.train.model import Model
from avssl.train.run import build_setup, fresh_state

WARM_UP_STEPS = 2


def random_batch(model: Model, batch_size: int) -> Any:
    """Noise in the shapes of the pipeline: zeros would make some losses and norms degenerate."""
    generator = np.random.default_rng(0)

    def noise(leaf: Any) -> np.ndarray:
        if leaf.dtype in (np.uint8, np.int16):
            bounds = np.iinfo(leaf.dtype)
            return generator.integers(bounds.min, bounds.max, leaf.shape, leaf.dtype, endpoint=True)
        return np.asarray(leaf)

    return jax.tree.map(noise, model.example_batch(batch_size))


def bench_step(config: ConfigDict, *, num_steps: int = 20) -> Iterator[str]:
    """Lines for a person; the time is the median of `num_steps` steps after two of warm-up."""
    check_batch_divides(config.batch_size, config.optimizer.accumulate, jax.device_count())
    teachers = NO_TEACHERS
    # They alone need the data: a store is of it, and a random network has its classes.
    if config.teachers:
        config, teachers = open_teachers(config, open_source(config.data.source))
    model = build_model(config)
    setup = build_setup(config, model, teachers=teachers)
    state, frozen = fresh_state(setup), teachers.place(setup.frozen_shardings)
    batch = setup.step.place(random_batch(model, config.batch_size))

    started = time.perf_counter()
    compiled = setup.step.compile(state, frozen, model.example_batch, config.batch_size)
    yield f"machine      {jax.device_count()} x {jax.devices()[0].device_kind}"
    yield f"compile      {time.perf_counter() - started:.1f} s"

    seconds = []
    for _ in range(WARM_UP_STEPS + num_steps):
        before = time.perf_counter()
        state, logs = compiled(state, frozen, batch)
        jax.block_until_ready(logs)
        seconds.append(time.perf_counter() - before)
    per_step = statistics.median(seconds[WARM_UP_STEPS:])
    yield f"step         {1e3 * per_step:.1f} ms (median of {num_steps})"
    yield f"throughput   {config.batch_size / per_step:.1f} clips/s"
    flops = (compiled.cost_analysis() or {}).get("flops", 0.0)
    # The compiler counts the body of a loop once: micro-batches, and some gradients on CPU.
    yield f"FLOPs        at least {flops / 1e9:.2f} G per step and device"
    if (memory := compiled.memory_analysis()) is not None:
        peak = (
            memory.temp_size_in_bytes
            + memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
        )
        yield f"peak memory  {peak / 2**20:.0f} MiB per device, by the compiler's analysis"
