"""Every config of paper scale, compiled for one slice: a row each, kept in a file so that a stop loses none."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from avssl.config import override, resolve
from avssl.config_file import load_config
from avssl.console import aligned
from avssl.errors import AvsslError, UsageError
from avssl.evaluate.results import commit, markdown_table, write_section
from avssl.plan.estimate import estimate, lay_out
from avssl.plan.table import COLUMNS, row
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import Topology, find_topology

FOLDERS = ("configs/pretrain", "configs/distill")
HEADER = ("config", *COLUMNS[2:])


def walk(name: str, batch: int, kept: Path, results: Path | None = None) -> Iterator[str]:
    """One line a config, then the table of all; each has this batch, or its own where that is larger.

    kept: a file of JSON lines, one for each config that compiled; those of this slice and batch are not
    compiled again.
    """
    files = [file for folder in FOLDERS for file in sorted(Path(folder).glob("*.py"))]
    if not files:
        raise UsageError(
            f"there is no config in {' and '.join(FOLDERS)}: walk from the folder of the project"
        )
    topology = find_topology(name)
    found = read_rows(kept, name, batch)
    for file in map(str, files):
        if file not in found:
            found[file] = one = {"config": file, "topology": name, "batch": batch}
            one["commit"] = commit()
            one["cells"], one["why_not"] = cells_of(file, topology, batch)
            if not one["why_not"]:
                with kept.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(one) + "\n")
        yield f"{file}: {found[file]['why_not'] or 'compiled'}"
    rows = [found[file] for file in map(str, files)]
    table = [one["cells"] for one in rows]
    yield from aligned([HEADER, *table], left={0})
    if results is not None:
        commits = ", ".join(dict.fromkeys(one["commit"] for one in rows))
        facts = [
            f"{name}, a batch of {batch} or the config's own where that is larger",
            f"commit {commits}",
            *(f"{one['config']}: {one['why_not']}" for one in rows if one["why_not"]),
        ]
        write_section(results, f"Plans for {name}", facts, markdown_table(HEADER, table))
        yield f"wrote the section 'Plans for {name}' of {results}"


def read_rows(kept: Path, name: str, batch: int) -> dict[str, Any]:
    """By config. A last line that a stop tore is not there."""
    rows = {}
    for line in kept.read_text(encoding="utf-8").splitlines() if kept.exists() else ():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if (one["topology"], one["batch"]) == (name, batch):
            rows[one["config"]] = one
    return rows


def cells_of(file: str, topology: Topology, batch: int) -> tuple[Sequence[str], str]:
    """(the row of one config, why it does not compile if it does not)."""
    why_not = ""
    config = load_config(file)
    devices = len(topology.devices) * config.optimizer.accumulate
    size = math.ceil(max(batch, config.batch_size) / devices) * devices
    override(config, [("batch_size", str(size))])
    try:
        resolved, teachers = planned_teachers(resolve(config))
        cells = row(estimate(lay_out(resolved, topology, teachers)))[2:]
    except (AvsslError, jax.errors.JaxRuntimeError, ValueError, TypeError) as error:
        why_not = next(iter(str(error).splitlines()), type(error).__name__)
        cells = (str(size), *["–"] * (len(COLUMNS) - 3))
    # The programs of all configs together would take gigabytes.
    jax.clear_caches()
    return (file, *cells), why_not
