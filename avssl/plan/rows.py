"""Rows of tables of plans: a file of JSON lines keeps them, so that a stop loses none.

A row belongs to a program as it is given to the compiler, to the compiler, and to the code that reads what
comes of it: a change of the package that leaves the program as it was leaves its row. One that says why the
compiler refuses is kept like others; a line that is deleted from the file is counted anew.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

from avssl.config import ConfigDict
from avssl.console import aligned, say, warn
from avssl.errors import AvsslError
from avssl.evaluate.results import commit, markdown_table, write_section
from avssl.failures import sentence
from avssl.plan.estimate import Layout, estimate, lay_out, lower_step
from avssl.plan.table import of_devices, refused_row, row
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import Topology

COMPILERS = ("jax", "jaxlib", "libtpu")


@dataclasses.dataclass(frozen=True)
class Row:
    """cells: by the names of the columns. why_not: empty where the step compiled."""

    cells: Mapping[str, str]
    why_not: str
    commit: str


class Rows:
    """file: where rows are kept; None for those of this process alone."""

    def __init__(self, file: Path | None = None):
        self.file = file
        self.kept: dict[str, Row] = {}
        if file is not None:
            drop_torn_line(file)
            self.kept = read_rows(file)

    def row(self, label: str, config: ConfigDict, topology: Topology) -> Row:
        """Of a resolved config: the kept one, or compiled. However one fails, it costs no other."""
        try:
            planned, teachers = planned_teachers(config)
            return self._row_of(label, lay_out(planned, topology, teachers))
        except Exception as error:
            one = refused(error, topology, config.batch_size)
            say(f"{label}: {one.why_not}")
            return one
        finally:
            # The programs of all rows together would take gigabytes.
            jax.clear_caches()

    def _row_of(self, label: str, layout: Layout) -> Row:
        lowered = lower_step(layout)
        identity = identity_of(layout, lowered.as_text())
        if identity in self.kept:
            one = self.kept[identity]
            say(f"{label}: {one.why_not or 'a row that is there'}")
            return one
        try:
            found = estimate(layout, lowered)
        except AvsslError as error:
            # What nobody foresaw is not kept: it may be of this machine and moment.
            one = refused(error, layout.topology, layout.batch_size)
            say(f"{label}: {one.why_not}")
        else:
            one = Row(row(found), "", commit())
            say(f"{label}: compiled in {found.compile_seconds:.0f} s")
        self._keep(identity, label, one)
        return one

    def _keep(self, identity: str, label: str, one: Row) -> None:
        self.kept[identity] = one
        if self.file is not None:
            line = {"identity": identity, "label": label, **dataclasses.asdict(one)}
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")


def refused(error: BaseException, topology: Topology, batch_size: int | str) -> Row:
    return Row(refused_row(topology, batch_size), sentence(error), commit())


def table_lines(
    header: Sequence[str],
    rows: Mapping[str, Row],
    topology: Topology,
    title: str,
    facts: Sequence[str],
    results: Path | None,
) -> Iterator[str]:
    """The table, the labels its first column. results: a Markdown file, whose section `title` it becomes."""
    table = [(label, *(one.cells[name] for name in header[1:])) for label, one in rows.items()]
    yield from aligned([header, *table], left={0})
    if results is None:
        return
    commits = ", ".join(dict.fromkeys(one.commit for one in rows.values()))
    devices = of_devices(topology)
    facts = [
        *facts,
        f"commit {commits}",
        *([f"chips{devices}"] if devices else []),
        *(f"{label}: {one.why_not}" for label, one in rows.items() if one.why_not),
    ]
    write_section(results, title, facts, markdown_table(header, table))
    yield f"wrote the section '{title}' of {results}"


def identity_of(layout: Layout, program: str) -> str:
    known = [layout.topology.name, layout.batch_size, layout.held, compiler_and_reader(), program]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def compiler_and_reader() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    for name in COMPILERS:
        digest.update(f"{name} {installed(name)}\n".encode())
    return digest.hexdigest()


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def drop_torn_line(kept: Path) -> None:
    """What a stop left of the last row; the next row would be glued to it, and lost with it."""
    content = kept.read_bytes() if kept.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        warn(f"{kept}: a stop tore its last line, which is dropped")
        os.truncate(kept, whole)


def read_rows(kept: Path) -> dict[str, Row]:
    """By identity."""
    rows = {}
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else ()
    for number, line in enumerate(lines, 1):
        try:
            one = json.loads(line)
            rows[one["identity"]] = Row(dict(one["cells"]), one["why_not"], one["commit"])
        except (ValueError, LookupError, TypeError):
            warn(f"{kept}:{number} is no row of a plan and is passed over")
    return rows
