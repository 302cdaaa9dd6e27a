"""`RESULTS.md`: tables that commands write, each with the command that wrote it.

A section belongs to its title: writing it again replaces it and leaves the others alone.
"""

import dataclasses
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax

from avssl.errors import UsageError
from avssl.evaluate.rows import COLUMNS, Row, cells, write_whole

INTRODUCTION = """# Results

Every table is written by the command above it; nothing is typed by hand.
"""


def write_results(file: Path, title: str, rows: Sequence[Row], facts: Sequence[str]) -> None:
    """Writes or replaces the section `title` of a Markdown file: the rows of one run."""
    write_section(file, title, facts, markdown_table(COLUMNS, map(cells, rows)))


def write_section(file: Path, title: str, facts: Iterable[str], body: str) -> None:
    """Writes or replaces the section `title`: the command, the facts as a list, then the body."""
    if "\n" in title or not title:
        raise UsageError("a section of the results needs a title of one line")
    text = file.read_text(encoding="utf-8") if file.exists() else INTRODUCTION
    section = "\n".join(
        [f"## {title}", "", f"    {command()}", "", *[f"- {fact}" for fact in facts], "", body]
    )
    heading = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if heading.search(text):
        text = heading.sub(lambda _: section + "\n", text)
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    write_whole(file, text, "give another place with --results")


def command() -> str:
    """What was typed, with the program's name instead of its path."""
    return shlex.join(["avssl", *sys.argv[1:]])


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    whole = [header, ["---"] * len(header), *lines]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in whole)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped) + "\n"


def facts_of(workdir: Path, seed: int) -> list[str]:
    """Where the numbers come from: run, seed, code and machine, and how long the training took."""
    took = training(workdir)
    trained = (
        f", {took.steps} steps in {took.seconds:.0f} s, of which they awaited data for "
        f"{100 * took.waited / took.seconds:.1f} %"
        if took.steps
        else ""
    )
    return [f"seed {seed}{trained}", f"commit {commit()}", machine()]


@dataclasses.dataclass(frozen=True)
class Training:
    steps: int
    seconds: float
    waited: float  # of these, for data


def training(workdir: Path) -> Training:
    """How long the steps took, from the speed of each logged line."""
    file = workdir / "metrics.jsonl"
    if not file.exists():
        return Training(0, 0.0, 0.0)
    config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    seconds, waited, last = 0.0, 0.0, 0
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the torn last line of a run that was killed
            break
        taken = (row["step"] - last) * config["batch_size"] / row["clips_per_second"]
        seconds += taken
        waited += taken * row["data_wait_fraction"]
        last = row["step"]
    return Training(last, seconds, waited)


def commit() -> str:
    """The commit of the code that ran, marked where files of the package were changed since."""
    try:
        name = git("describe", "--always", "--abbrev=12")
        # Of the package alone: a table that was just written changes no number of the next.
        return f"{name}-dirty" if git("status", "--porcelain", "--", ".") else name
    except (OSError, subprocess.SubprocessError):
        return "unknown (not a git checkout)"


def git(*words: str) -> str:
    package = Path(__file__).parents[1]
    found = subprocess.run(
        ["git", *words], cwd=package, capture_output=True, text=True, timeout=10, check=True
    )
    return found.stdout.strip()


def machine() -> str:
    device = jax.devices()[0].device_kind
    return f"{processor()}, {os.cpu_count()} cores, {device}; jax {jax.__version__}"


def processor() -> str:
    """The processor's name, as Linux has it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()
