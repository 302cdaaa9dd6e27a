"""Every config of paper scale, compiled for one slice: a row each, kept in a file so that a stop loses none."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from avssl.config import load_config, override, resolve
from avssl.console import aligned, warn
from avssl.errors import UsageError
from avssl.evaluate.results import commit, markdown_table, write_section
from avssl.failures import sentence
from avssl.plan.estimate import estimate, lay_out
from avssl.plan.table import COLUMNS, row
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import Topology, find_topology

FOLDERS = ("configs/pretrain", "configs/distill")
# What no file of these folders trains as it stands: crd, cmc, supervised, detect and classify.
BEYOND = (
    "configs/distill/distill.py:crd",
    "configs/distill/distill.py:cmc",
    "configs/distill/mke.py:teacher",
    "configs/distill/mm_distillnet.py:teacher",
    "configs/finetune/kinetics400.py",
)
HEADER = ("config", *COLUMNS[2:])


def walk(name: str, batch: int, kept: Path, results: Path | None = None) -> Iterator[str]:
    """One line a config, then the table of all; each has this batch, or its own where that is larger.

    kept: a file of JSON lines, one for each config that compiled; those of this slice and batch that the same
    code counted are not compiled again.
    """
    files = walked_configs()
    topology = find_topology(name)
    drop_torn_line(kept)
    found = read_rows(kept, name, batch)
    for file in files:
        if file not in found:
            found[file] = one = {"config": file, "topology": name, "batch": batch}
            one |= {"commit": commit(), "counted_by": counted_by()}
            one["cells"], one["why_not"] = cells_of(file, topology, batch)
            if not one["why_not"]:
                with kept.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(one) + "\n")
        yield f"{file}: {found[file]['why_not'] or 'compiled'}"
    rows = [found[file] for file in files]
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


def walked_configs() -> list[str]:
    """Between them they train every objective."""
    files = [str(file) for folder in FOLDERS for file in sorted(Path(folder).glob("*.py"))]
    if not files:
        raise UsageError(
            f"there is no config in {' and '.join(FOLDERS)}: walk from the folder of the project"
        )
    return files + [name for name in BEYOND if Path(name.partition(":")[0]).exists()]


def drop_torn_line(kept: Path) -> None:
    """What a stop left of the last row; the next row would be glued to it, and lost with it."""
    content = kept.read_bytes() if kept.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        warn(f"{kept}: a stop tore its last line, which is dropped")
        os.truncate(kept, whole)


def read_rows(kept: Path, name: str, batch: int) -> dict[str, Any]:
    """By config."""
    rows = {}
    wanted = name, batch, counted_by()
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else ()
    for number, line in enumerate(lines, 1):
        try:
            one = json.loads(line)
            if (one["topology"], one["batch"], one.get("counted_by")) == wanted:
                rows[one["config"]] = one
        except (ValueError, LookupError, TypeError):
            warn(f"{kept}:{number} is not a row of a walk and is passed over")
    return rows


def counted_by() -> str:
    """Which sources of this room count: rows of others do not stand beside theirs."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]


def cells_of(file: str, topology: Topology, batch: int) -> tuple[Sequence[str], str]:
    """(the row of one config, why it does not compile if it does not)."""
    why_not, size = "", "–"
    try:
        config = load_config(file)
        devices = len(topology.devices) * config.optimizer.accumulate
        size = str(math.ceil(max(batch, config.batch_size) / devices) * devices)
        override(config, [("batch_size", size)])
        resolved, teachers = planned_teachers(resolve(config))
        cells = row(estimate(lay_out(resolved, topology, teachers)))[2:]
    except Exception as error:
        # However one fails, it keeps no other from being compiled.
        why_not = sentence(error)
        cells = (size, *["–"] * (len(COLUMNS) - 3))
    # The programs of all configs together would take gigabytes.
    jax.clear_caches()
    return (file, *cells), why_not
