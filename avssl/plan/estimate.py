"""What a step needs and how fast it can be at best, from the program compiled for the target."""

import dataclasses
import math
import re
import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from avssl.config import ConfigDict
from avssl.errors import AvsslError, UsageError
from avssl.plan.collectives import Collective
from avssl.plan.compiled import bytes_moved_of, flops_of, how_counted, peak_bytes_of
from avssl.plan.program import Program
from avssl.plan.topology import Topology
from avssl.teachers.open import NO_TEACHERS, Teachers
from avssl.train.build_model import build_model
from avssl.train.mesh import check_batch_divides, compute_type, float_type, path_name
from avssl.train.optim import matches
from avssl.train.run import Setup, build_setup

# "Ran out of memory in memory space hbm. Used 85.59G of 15.75G hbm." Or, before anything is placed: "the total
# memory required for HLO temporaries (800.00G) exceeds available HBM (15.75G)".
TOO_LARGE = re.compile(
    r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm"
    r"|\(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)"
)
# Compilers say on and on.
MOST_OF_A_REASON = 300
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is known before anything is compiled.

    held: bytes on one device of each part of the state, of teachers, and of the device's rows of a batch.
    """

    topology: Topology
    setup: Setup
    teachers: Teachers
    held: dict[str, int]

    @property
    def held_bytes(self) -> int:
        return sum(self.held.values())

    @property
    def batch_size(self) -> int:
        return self.setup.config.batch_size


@dataclasses.dataclass(frozen=True)
class Roof:
    """Seconds that one resource needs for a step at its peak."""

    name: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Of one step on one device, unless said otherwise; without `work` where the compiler refuses its size.

    fits: the compiler takes it, and all of it is within the limit, against which the compiler does not hold
    what the step is given. limit_bytes: None where nobody knows it.
    """

    layout: Layout
    fits: bool
    peak_bytes: float
    limit_bytes: float | None
    compile_seconds: float
    work: "Work | None" = None

    @property
    def topology(self) -> Topology:
        return self.layout.topology

    @property
    def roofs(self) -> list[Roof]:
        """Slowest first; none where no peak is known."""
        chip, work = self.topology.chip, self.work
        if chip is None or work is None:
            return []
        roofs = [
            Roof("arithmetic", work.flops * chip.devices / chip.flops_per_second),
            Roof("memory", work.bytes_moved * chip.devices / chip.memory_bytes_per_second),
            Roof("links", work.bytes_sent * chip.devices / chip.link_bytes_per_second),
        ]
        return sorted(roofs, key=lambda roof: -roof.seconds)

    @property
    def clips_per_second(self) -> float:
        return self.layout.batch_size / self.roofs[0].seconds

    @property
    def chip_hours(self) -> float:
        """Of the whole run."""
        steps = self.layout.setup.config.steps
        return steps * self.roofs[0].seconds * self.topology.num_chips / 3600


@dataclasses.dataclass(frozen=True)
class Work:
    """What the compiled program does.

    temporary: activations, gradients and workspace. counted: how, for a person. is_whole: nothing was left out
    that nobody could count. collectives: by kind, (runs, bytes sent). least_sent: by kind, the bytes that
    parameters and their gradients take however the step is compiled.
    """

    temporary: int
    flops: float
    bytes_moved: float
    counted: str
    is_whole: bool
    collectives: dict[str, tuple[int, float]]
    least_sent: dict[str, float]

    @property
    def bytes_sent(self) -> float:
        return sum(sent for _, sent in self.collectives.values())

    @property
    def least_bytes_sent(self) -> float:
        return sum(self.least_sent.values())


def lay_out(config: ConfigDict, topology: Topology, teachers: Teachers = NO_TEACHERS) -> Layout:
    """The state of a resolved config on these devices; nothing is made and no data is opened."""
    if config.parallel.mode == "pmap":
        raise UsageError(
            "plan compiles for a mesh: set parallel.mode=mesh, which computes the same"
        )
    check_batch_divides(config.batch_size, config.optimizer.accumulate, len(topology.devices))
    setup = build_setup(config, build_model(config), topology.devices, teachers=teachers)
    return Layout(topology, setup, teachers, held_on_one(setup, teachers))


def estimate(layout: Layout, lowered: Any = None) -> Estimate:
    """Compiles the step for the topology, which takes minutes; nothing runs. lowered: where it is there."""
    chip = layout.topology.chip
    started = time.perf_counter()
    try:
        compiled = (lowered or lower_step(layout)).compile()
    except jax.errors.JaxRuntimeError as error:
        if (found := TOO_LARGE.search(str(error))) is None:
            why = " ".join(str(error).split())
            raise AvsslError(
                f"the compiler refuses the step for {layout.topology.name}: {why[:MOST_OF_A_REASON]}"
            ) from error
        size, unit, most, most_unit = (part for part in found.groups() if part)
        used, limit = float(size) * UNITS[unit], float(most) * UNITS[most_unit]
        return Estimate(layout, False, used, limit, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    program = Program(compiled.as_text())
    work = Work(
        temporary=compiled.memory_analysis().temp_size_in_bytes,
        flops=flops_of(compiled, program),
        bytes_moved=bytes_moved_of(compiled, program),
        counted=", ".join(how_counted(program)),
        is_whole=not (program.unknown_loops() or program.unknown_products()),
        collectives=by_kind(program.collectives(len(layout.topology.devices))),
        least_sent=least_sent(layout.setup),
    )
    limit = chip.memory_bytes / chip.devices if chip else None
    peak = peak_bytes_of(compiled) or 0.0
    return Estimate(layout, limit is None or peak <= limit, peak, limit, seconds, work)


def by_kind(collectives: Iterable[Collective]) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    for one in collectives:
        runs, sent = found.get(one.kind, (0, 0.0))
        found[one.kind] = runs + one.runs, sent + one.bytes_sent
    return found


def lower_step(layout: Layout) -> Any:
    def placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    setup = layout.setup
    state = jax.tree.map(placed, setup.abstract, setup.shardings)
    frozen = jax.tree.map(placed, layout.teachers.variables, setup.frozen_shardings)
    return setup.step.lower(state, frozen, setup.model.example_batch, layout.batch_size)


def held_on_one(setup: Setup, teachers: Teachers) -> dict[str, int]:
    """What one device keeps between steps, by item of a checkpoint, and its rows of a batch."""
    shardings = setup.shardings.items()
    parts = {
        name: held_bytes(item, shardings[name]) for name, item in setup.abstract.items().items()
    }
    parts["teachers"] = held_bytes(teachers.variables, setup.frozen_shardings)
    batch = jax.eval_shape(lambda: setup.model.example_batch(setup.config.batch_size))
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(batch))
    parts["batch"] = whole // setup.mesh.size
    return {name: size for name, size in parts.items() if size}


def held_bytes(tree: Any, shardings: Any) -> int:
    return sum(jax.tree.leaves(jax.tree.map(shard_bytes, tree, shardings)))


def shard_bytes(leaf: Any, sharding: Any) -> int:
    return math.prod(sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize


def least_sent(setup: Setup) -> dict[str, float]:
    """By one device, for the parameters: rings that each send what is in parts once each way.

    A parameter that all devices hold has its gradient all-reduced. One in `parts` is gathered before it is
    used, its gradient reduce-scattered, and what copies of a part sum is all-reduced: together no more. One
    that is frozen has no gradient.
    """
    # Gradients come in the type of the arithmetic, and are summed in it.
    size = min(
        np.dtype(kind(setup.config.precision)).itemsize for kind in (compute_type, float_type)
    )
    sent: dict[str, float] = {}
    shardings = jax.tree.leaves(setup.shardings.params)
    leaves = jax.tree_util.tree_leaves_with_path(setup.abstract.params)
    for (path, leaf), sharding in zip(leaves, shardings, strict=True):
        held = math.prod(sharding.shard_shape(leaf.shape))
        parts = leaf.size // held
        copies = setup.mesh.size // parts
        learns = not matches(setup.model.frozen, path_name(path))
        for kind, numbers in (
            ("all-gather", (parts - 1) * held),
            ("reduce-scatter", learns * (parts - 1) * held),
            ("all-reduce", learns * 2 * (copies - 1) / copies * held),
        ):
            sent[kind] = sent.get(kind, 0.0) + size * numbers
    return {kind: sent for kind, sent in sent.items() if sent}
