"""`avssl plan`: whether a run fits a slice of a pod, what bounds its speed, and what would make it fit."""

from collections.abc import Iterator
from typing import Any

import jax

from avssl.config import ConfigDict
from avssl.failures import sentence
from avssl.models.registry import ENCODERS, encoder_fields
from avssl.models.transformer import REMATS
from avssl.plan.changes import with_changes
from avssl.plan.estimate import Estimate, estimate, lay_out
from avssl.plan.table import estimate_lines, layout_lines
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import Topology, find_topology

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


def suggestions(found: Estimate) -> Iterator[str]:
    """What would fit, each tried by compiling it; of each kind the smallest change that does."""
    config, topology, teachers = found.layout.setup.config, found.topology, found.layout.teachers
    yield "what would fit:"
    fits = False
    for kind in changes(config, topology):
        for change in kind:
            words = " ".join(f"--config.{key}={value}" for key, value in change.items())
            try:
                tried = estimate(lay_out(with_changes(config, change), topology, teachers))
            except Exception as error:
                # However one fails, it keeps no other from being tried.
                yield f"  {words}: {sentence(error)}"
                continue
            finally:
                # The programs of all of them together would take gigabytes.
                jax.clear_caches()
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
