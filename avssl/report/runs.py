"""Run folders as a report reads them: config, metrics and the table of results, whichever is there."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avssl.config import ConfigDict, flatten, run_config
from avssl.errors import UsageError
from avssl.evaluate.rows import Row, read_command, read_json
from avssl.train.evaluations import HISTORY
from avssl.train.runlog import METRICS

EVALUATION = "eval.json"


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """A run folder. `num_torn_lines` counts lines of its log that cannot be read."""

    name: str
    folder: Path
    config: ConfigDict
    lines: list[dict[str, Any]]  # of metrics.jsonl, in the order of their steps
    num_torn_lines: int
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # of eval_history.jsonl

    @property
    def flat(self) -> dict[str, Any]:
        return flatten(self.config)

    @property
    def objectives(self) -> dict[str, Any]:
        """Those that are trained."""
        named = self.config.get("objectives", {})
        return {name: keys for name, keys in named.items() if keys.get("weight", 1.0)}

    def rows(self) -> list[Row]:
        """Of `eval.json`; UsageError where it is missing or damaged."""
        file = self.folder / EVALUATION
        if not file.is_file():
            raise UsageError(
                f"{self.name} has no {EVALUATION}: `avssl evaluate --workdir {self.folder}` writes it"
            )
        try:
            return read_json(file)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{file} is damaged ({type(error).__name__}: {error})") from error

    def command(self) -> str:
        """That measured `rows`, which are there; empty where nobody wrote it down."""
        return read_command(self.folder / EVALUATION)


def open_runs(folders: Sequence[Path]) -> list[ReportedRun]:
    """UsageError for a folder that is no run, and for one that is named twice."""
    resolved = [folder.resolve() for folder in folders]
    for place, folder in enumerate(resolved):
        if folder in resolved[:place]:
            raise UsageError(f"{folders[place]} is named twice: give each run once")
    return [
        ReportedRun(
            name,
            folder,
            run_config(folder),
            *read_metrics(folder / METRICS),
            read_metrics(folder / HISTORY)[0],
        )
        for name, folder in zip(short_names(resolved), folders, strict=True)
    ]


def short_names(folders: Sequence[Path]) -> list[str]:
    """The end of each path, as long as tells them apart; of a lone seed's folder also what it is a seed of."""
    longest = max(len(folder.parts) for folder in folders)
    for length in range(1, longest + 1):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        lone_seed = length == 1 and any(name.startswith("seed-") for name in names)
        if len(set(names)) == len(names) and not lone_seed:
            break
    return names


def read_metrics(file: Path) -> tuple[list[dict[str, Any]], int]:
    """(the lines with a step, how many others there are); the last line of a killed run may be torn."""
    if not file.is_file():
        return [], 0
    lines, num_torn = {}, 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            lines[int(values["step"])] = values
        except (ValueError, KeyError, TypeError):
            num_torn += 1
    return [lines[step] for step in sorted(lines)], num_torn
