"""Devices that are not here: a slice of a pod by name, to compile for, or simulated ones of this machine.

TPU slices come from `libtpu` (the extra `tpu`), which compiles for any of them on a machine that has none.
"""

import contextlib
import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import jax

from avssl.errors import AvsslError, UsageError, unknown
from avssl.plan.chips import CHIPS, Chip

NAME = re.compile(r"([a-z0-9]+):([1-9]\d*(?:x[1-9]\d*)*)")
# Numbers of simulated devices that a sweep goes through.
SIMULATED = ("1", "2", "4", "8", "16", "32", "64", "128")
# What libtpu would ask a TPU machine's metadata server for; the kind of slice that is named moves nothing.
# No chip is opened, so that others may plan, or train, meanwhile.
NO_TPU_HERE = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """chip: None for simulated devices, of which no peak is known."""

    name: str
    devices: Sequence[Any]
    chip: Chip | None

    @property
    def num_chips(self) -> int:
        return len(self.devices) // self.devices_per_chip

    @property
    def devices_per_chip(self) -> int:
        return self.chip.devices if self.chip else 1


def parse_name(name: str) -> tuple[str, tuple[int, ...]]:
    """`v5e:16x16` as ("v5e", (16, 16)); refuses what cannot be booked."""
    kinds = (*CHIPS, "cpu")
    match = NAME.fullmatch(name)
    if match is None:
        raise UsageError(
            f"'{name}' is no topology: it is KIND:SIZE, as v5e:16x16, v5p:4x4x8 or cpu:8; "
            f"kinds: {', '.join(kinds)}"
        )
    kind, sides = match[1], tuple(int(side) for side in match[2].split("x"))
    if kind not in kinds:
        near = str(unknown("kind of chip", kind, kinds)).partition("; known:")[0]
        raise UsageError(f"{near}{'' if near.endswith('?') else ';'} known: {', '.join(kinds)}")
    if kind == "cpu" and len(sides) > 1:
        raise UsageError(
            f"'{name}' is no topology: simulated devices have a number alone, as cpu:{math.prod(sides)}"
        )
    if kind != "cpu" and not CHIPS[kind].has_slice(sides):
        raise UsageError(f"there is no slice {name}; of {kind} there are {CHIPS[kind].known_sizes}")
    return kind, sides


def sizes_up_to(name: str) -> list[str]:
    """Of one kind, the smaller ones first."""
    kind, sides = parse_name(name)
    sizes = SIMULATED if kind == "cpu" else CHIPS[kind].sizes
    smaller = [size for size in sizes if num_chips(size) < math.prod(sides)]
    return [f"{kind}:{size}" for size in smaller] + [name]


def num_chips(size: str) -> int:
    return math.prod(int(side) for side in size.split("x"))


def prepare(name: str) -> None:
    """Settles, before the first array, that this process computes on CPU and has the simulated devices."""
    kind, sides = parse_name(name)
    # A process whose devices exist already keeps them; `find_topology` counts.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_platforms", "cpu")
        if kind == "cpu":
            jax.config.update("jax_num_cpu_devices", math.prod(sides))


def find_topology(name: str) -> Topology:
    kind, sides = parse_name(name)
    if kind == "cpu":
        wanted, here = math.prod(sides), jax.devices("cpu")
        if len(here) < wanted:
            raise UsageError(
                f"{name} needs {wanted} simulated devices, this process has {len(here)}"
            )
        return Topology(name, here[:wanted], None)
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError(
            f"{name} is compiled by libtpu, which is not installed: pip install 'avssl[tpu]'"
        )
    from jax.experimental import topologies

    # What is compiled for devices that are not here cannot be read back, and JAX warns of it.
    jax.config.update("jax_enable_compilation_cache", False)
    for key, value in NO_TPU_HERE.items():
        os.environ.setdefault(key, value)
    mode = {"chip_config_name": CHIPS[kind].core_mode} if CHIPS[kind].core_mode else {}
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **mode)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise AvsslError(f"libtpu cannot describe {name}: {reason}") from error
    return Topology(name, found.devices, CHIPS[kind])
