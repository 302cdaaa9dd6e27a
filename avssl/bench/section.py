"""The section of a Markdown file that a benchmark writes: its command, where it was measured, and a table."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from avssl.evaluate.results import commit, machine, markdown_table, write_section


def written(lines: Iterable[str], results: Path | None, title: str) -> Iterator[str]:
    """Lines for a person as they come; with `results` they become a table of two columns at the end."""
    said = []
    for line in lines:
        said.append(line)
        yield line
    if results is not None:
        yield write_table(results, title, (), ("what", "measured"), map(cells_of, said))


def cells_of(line: str) -> tuple[str, str]:
    """A line for a person as a row of a table."""
    label, *values = re.split(r"\s{2,}", line.strip())
    return label, ", ".join(values)


def write_table(
    results: Path,
    title: str,
    facts: Iterable[str],
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> str:
    """Writes or replaces the section; what to say of it."""
    write_section(results, title, [*facts, *origin()], markdown_table(header, rows))
    return f"wrote the section '{title}' of {results}"


def origin() -> list[str]:
    return [f"commit {commit()}", machine()]
