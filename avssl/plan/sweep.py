"""One config on slices of growing size, with as many clips a chip: how time and memory grow with it."""

from collections.abc import Iterator
from pathlib import Path

from avssl.config import ConfigDict
from avssl.errors import UsageError
from avssl.plan.changes import with_changes
from avssl.plan.rows import Rows, table_lines
from avssl.plan.table import COLUMNS, PARAMETERS
from avssl.plan.topology import Topology, find_topology, sizes_up_to

HEADER = (*COLUMNS, PARAMETERS)


def sweep(
    config: ConfigDict, name: str, results: Path | None = None, kept: Path | None = None
) -> Iterator[str]:
    """One row for each size of slice up to the named one. kept: a file of rows. results: a Markdown file."""
    largest = find_topology(name)
    # All of them before the first is compiled: what is refused at the last would cost the others.
    sizes = [find_topology(size) for size in sizes_up_to(name)]
    configs = [of_size(config, topology, largest) for topology in sizes]
    rows = Rows(kept)
    found = {
        topology.name: rows.row(topology.name, one, topology)
        for topology, one in zip(sizes, configs, strict=True)
    }
    sharded = ", parameters sharded" if config.parallel.fsdp > 1 else ""
    yield from table_lines(HEADER, found, largest, f"Slices up to {name}{sharded}", (), results)


def of_size(config: ConfigDict, topology: Topology, largest: Topology) -> ConfigDict:
    each = config.batch_size / largest.num_chips * topology.num_chips
    if each != int(each):
        raise UsageError(
            f"batch_size {config.batch_size} gives {each:g} clips to {topology.name}: take a multiple of "
            f"{largest.num_chips}"
        )
    fsdp = min(config.parallel.fsdp, len(topology.devices))
    return with_changes(config, {"batch_size": int(each), "parallel.fsdp": fsdp})
