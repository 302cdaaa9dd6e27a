"""One config with and without changes, each compiled: what a flag brings before anything is booked."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from avssl.config import ConfigDict, from_json, override, resolve
from avssl.console import aligned, say
from avssl.errors import UsageError
from avssl.evaluate.results import commit, markdown_table, write_section
from avssl.plan.estimate import estimate, lay_out
from avssl.plan.table import COLUMNS, row
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import find_topology

HEADER = ("change", *COLUMNS[2:])


def compare(
    config: ConfigDict, name: str, changes: Sequence[str], title: str, results: Path | None = None
) -> Iterator[str]:
    """A row for the config as it is and one for each change: `KEY=VALUE`, several with blanks between.

    results: a Markdown file that gets the table, too, in the section `title`.
    """
    topology = find_topology(name)
    # All of them before the first is compiled: a typing error in the last would cost the others.
    configs = {"as it is": config, **{change: changed(config, change) for change in changes}}
    rows = []
    for label, one in configs.items():
        planned, teachers = planned_teachers(one)
        found = estimate(lay_out(planned, topology, teachers))
        # The programs of all rows together would take gigabytes.
        jax.clear_caches()
        say(f"{label}: compiled in {found.compile_seconds:.0f} s")
        rows.append((label, *row(found)[2:]))
    yield from aligned([HEADER, *rows], left={0})
    if results is not None:
        write_section(results, title, [f"commit {commit()}"], markdown_table(HEADER, rows))
        yield f"wrote the section '{title}' of {results}"


def changed(config: ConfigDict, change: str) -> ConfigDict:
    settings = [word.partition("=") for word in shlex.split(change)]
    if not settings or not all(key and equals for key, equals, _ in settings):
        raise UsageError(f"--compare takes KEY=VALUE, several with blanks between, not '{change}'")
    copy = from_json(config.to_dict())
    override(copy, [(key, value) for key, _, value in settings])
    copy = resolve(copy)
    if (copy.precision == "float64") != (config.precision == "float64"):
        raise UsageError(
            "float64 is for all rows or for none: give --config.precision, not --compare"
        )
    return copy
