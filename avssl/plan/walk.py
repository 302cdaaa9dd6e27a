"""Every config of paper scale, compiled for one slice: a row each, kept in a file so that a stop loses none.

avssl plan --topology v5e:16x16 --walk configs/plans/v5e-16x16.jsonl --results RESULTS.md
"""

import math
from collections.abc import Iterator
from pathlib import Path

from avssl.config import load_config, override, resolve
from avssl.console import say
from avssl.errors import UsageError
from avssl.plan.rows import Row, Rows, refused, table_lines
from avssl.plan.table import COLUMNS
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

    kept: a file of rows. results: a Markdown file that gets the table, too.
    """
    files = walked_configs()
    topology = find_topology(name)
    rows = Rows(kept)
    found = {file: row_of(file, rows, topology, batch) for file in files}
    facts = [f"{name}, a batch of {batch} or the config's own where that is larger"]
    yield from table_lines(HEADER, found, topology, f"Plans for {name}", facts, results)


def row_of(file: str, rows: Rows, topology: Topology, batch: int) -> Row:
    size = "–"
    try:
        config = load_config(file)
        devices = len(topology.devices) * config.optimizer.accumulate
        size = str(math.ceil(max(batch, config.batch_size) / devices) * devices)
        override(config, [("batch_size", size)])
        config = resolve(config)
    except Exception as error:
        # However one fails, it keeps no other from being compiled.
        one = refused(error, topology, size)
        say(f"{file}: {one.why_not}")
        return one
    return rows.row(file, config, topology)


def walked_configs() -> list[str]:
    """Between them they train every objective."""
    files = [str(file) for folder in FOLDERS for file in sorted(Path(folder).glob("*.py"))]
    if not files:
        raise UsageError(
            f"there is no config in {' and '.join(FOLDERS)}: walk from the folder of the project"
        )
    return files + [name for name in BEYOND if Path(name.partition(":")[0]).exists()]
