"""One config with and without changes, each compiled: what a flag brings before anything is booked."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from avssl.config import ConfigDict
from avssl.errors import UsageError
from avssl.plan.changes import with_changes
from avssl.plan.rows import Rows, table_lines
from avssl.plan.table import COLUMNS
from avssl.plan.topology import find_topology

HEADER = ("change", *COLUMNS[2:])


def compare(
    config: ConfigDict,
    name: str,
    changes: Sequence[str],
    title: str,
    results: Path | None = None,
    kept: Path | None = None,
) -> Iterator[str]:
    """A row for the config as it is and one for each change: `KEY=VALUE`, several with blanks between.

    kept: a file of rows. results: a Markdown file that gets the table, too, in the section `title`.
    """
    topology = find_topology(name)
    # All of them before the first is compiled: a typing error in the last would cost the others.
    configs = {"as it is": config, **{change: changed(config, change) for change in changes}}
    rows = Rows(kept)
    found = {label: rows.row(label, one, topology) for label, one in configs.items()}
    yield from table_lines(HEADER, found, topology, title, (), results)


def changed(config: ConfigDict, change: str) -> ConfigDict:
    settings = [word.partition("=") for word in shlex.split(change)]
    if not settings or not all(key and equals for key, equals, _ in settings):
        raise UsageError(f"--compare takes KEY=VALUE, several with blanks between, not '{change}'")
    copy = with_changes(config, {key: value for key, _, value in settings})
    if (copy.precision == "float64") != (config.precision == "float64"):
        raise UsageError(
            "float64 is for all rows or for none: give --config.precision, not --compare"
        )
    return copy
