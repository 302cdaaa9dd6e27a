"""`avssl plan`: whether a run fits a slice of a pod, what bounds its speed, and what would make it fit."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from avssl.config import ConfigDict, from_json, override
from avssl.console import aligned, say
from avssl.errors import UsageError
from avssl.evaluate.results import commit, markdown_table, write_section
from avssl.models.registry import ENCODERS, encoder_fields
from avssl.models.transformer import REMATS
from avssl.plan.estimate import Estimate, estimate, lay_out
from avssl.plan.table import COLUMNS, estimate_lines, layout_lines, row
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import SIZES, Topology, find_topology, parse_name

Change = dict[str, Any]


def plan(config: ConfigDict, name: str, *, suggest: bool = False) -> Iterator[str]:
    """Lines for a person: what is held comes at once, the rest when the step is compiled."""
    topology = find_topology(name)
    config, teachers = planned_teachers(config)
    layout = lay_out(config, topology, teachers)
    yield from layout_lines(layout)
    found = estimate(layout)
    yield from estimate_lines(found)
    if suggest and not found.fits:
        yield from suggestions(found)


def sweep(config: ConfigDict, name: str, results: Path | None = None) -> Iterator[str]:
    """One row for each size of slice up to the named one, with as many clips a chip as it has there.

    results: a Markdown file that gets the table, too.
    """
    largest = find_topology(name)
    config, teachers = planned_teachers(config)
    rows = []
    for size in sizes_up_to(name):
        topology = find_topology(size)
        each = config.batch_size / largest.num_chips * topology.num_chips
        if each != int(each):
            raise UsageError(
                f"batch_size {config.batch_size} gives {each:g} clips to {size}: take a multiple of "
                f"{largest.num_chips}"
            )
        fsdp = min(config.parallel.fsdp, len(topology.devices))
        changed = with_changes(config, {"batch_size": int(each), "parallel.fsdp": fsdp})
        found = estimate(lay_out(changed, topology, teachers))
        # The programs of all sizes together would take gigabytes.
        jax.clear_caches()
        say(f"{size}: compiled in {found.compile_seconds:.0f} s")
        rows.append((*row(found), f"{found.layout.held['params'] / 2**30:.3f}"))
    header = (*COLUMNS, "params GiB")
    yield from aligned([header, *rows])
    if results is not None:
        sharded = ", parameters sharded" if config.parallel.fsdp > 1 else ""
        title = f"Slices up to {name}{sharded}"
        write_section(results, title, [f"commit {commit()}"], markdown_table(header, rows))
        yield f"wrote the section '{title}' of {results}"


def sizes_up_to(name: str) -> list[str]:
    kind, sides = parse_name(name)
    smaller = [size for size in SIZES[len(sides)] if volume(size) < math.prod(sides)]
    return [f"{kind}:{size}" for size in smaller] + [name]


def volume(size: str) -> int:
    return math.prod(int(side) for side in size.split("x"))


def suggestions(found: Estimate) -> Iterator[str]:
    """What would fit, each tried by compiling it; of each kind the smallest change that does."""
    config, topology, teachers = found.layout.setup.config, found.topology, found.layout.teachers
    yield "what would fit:"
    fits = False
    for kind in changes(config, topology):
        for change in kind:
            tried = estimate(lay_out(with_changes(config, change), topology, teachers))
            words = " ".join(f"--config.{key}={value}" for key, value in change.items())
            yield f"  {words}: {tried.peak_bytes / 2**30:.2f} GiB{', fits' if tried.fits else ''}"
            if tried.fits:
                fits = True
                break
    if not fits:
        yield "  none of these alone: take them together, or more chips"


def changes(config: ConfigDict, topology: Topology) -> Iterator[list[Change]]:
    """By kind, the smaller changes first."""
    devices = len(topology.devices)
    yield [
        {"parallel.fsdp": ways}
        for ways in sorted({4, 16, devices})
        if config.parallel.fsdp < ways <= devices and devices % ways == 0
    ]
    accumulate = config.optimizer.accumulate
    yield [
        {"optimizer.accumulate": accumulate * more}
        for more in (2, 4, 8, 16)
        if config.batch_size % (devices * accumulate * more) == 0
    ]
    yield recomputations(config)
    if config.precision == "float32":
        yield [{"precision": "bf16"}]
    yield [
        {"batch_size": config.batch_size // less}
        for less in (2, 4, 8, 16)
        if config.batch_size % (devices * accumulate * less) == 0
    ]


def recomputations(config: ConfigDict) -> list[Change]:
    """For the encoders that can compute anew what the backward pass needs: each policy that keeps less."""
    now = {}
    for name, encoder in config.encoders.items():
        fields = encoder_fields(ENCODERS[encoder.name])
        if "remat" in fields:
            now[f"encoders.{name}.remat"] = REMATS.index(encoder.get("remat", fields["remat"]))
    kinds = [
        {key: policy for key, old in now.items() if old < place}
        for place, policy in enumerate(REMATS)
    ]
    return [kind for kind in kinds if kind]


def with_changes(config: ConfigDict, change: Change) -> ConfigDict:
    changed = from_json(config.to_dict())
    override(changed, [(key, str(value)) for key, value in change.items()])
    return changed
