"""`RESULTS.md`: tables that commands write, each with the command that wrote it.

A section belongs to its title: writing it again replaces it and leaves the others alone.
"""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from avssl.errors import UsageError
from avssl.evaluate.rows import COLUMNS, Row, cells

INTRODUCTION = """# Results

Every table is written by the command above it; nothing is typed by hand.
"""


def write_results(file: Path, title: str, rows: Sequence[Row], facts: Sequence[str]) -> None:
    """Writes or replaces the section `title` of a Markdown file."""
    if "\n" in title or not title:
        raise UsageError("a section of the results needs a title of one line")
    text = file.read_text(encoding="utf-8") if file.exists() else INTRODUCTION
    section = "\n".join(
        [
            f"## {title}",
            "",
            f"    {command()}",
            "",
            *[f"- {fact}" for fact in facts],
            "",
            table(rows),
        ]
    )
    heading = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if heading.search(text):
        text = heading.sub(lambda _: section + "\n", text)
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    file.write_text(text, encoding="utf-8")


def command() -> str:
    """What was typed, with the program's name instead of its path."""
    return shlex.join(["avssl", *sys.argv[1:]])


def table(rows: Sequence[Row]) -> str:
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *(cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def facts_of(workdir: Path, seed: int) -> list[str]:
    """Where the numbers come from: run, seed, code and machine, and how long the training took."""
    return [
        f"seed {seed}{training(workdir)}",
        f"commit {commit()}",
        f"{processor()}, {os.cpu_count()} cores, {jax.devices()[0].platform}; jax {jax.__version__}",
    ]


def training(workdir: Path) -> str:
    """Steps and the seconds they took, from the speed of each logged line."""
    file = workdir / "metrics.jsonl"
    if not file.exists():
        return ""
    config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    seconds, last = 0.0, 0
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the torn last line of a run that was killed
            break
        seconds += (row["step"] - last) * config["batch_size"] / row["clips_per_second"]
        last = row["step"]
    return f", {last} steps in {seconds:.0f} s"


def commit() -> str:
    """The commit of the code that ran, marked where files were changed since."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown (not a git checkout)"
    return found.stdout.strip()


def processor() -> str:
    """The processor's name, as Linux has it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()
