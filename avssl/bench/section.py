"""The section of a Markdown file that a benchmark writes: its command, where it was measured, and a table."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from avssl.evaluate.results import commit, machine, markdown_table, write_section


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
