"""Evaluation results: rows of `eval.json` and of the table that a person reads."""

import dataclasses
import errno
import json
import math
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from etils import epath

from avssl.console import aligned
from avssl.data import cache
from avssl.errors import AvsslError

COLUMNS = (
    "protocol",
    "features",
    "metric",
    "value",
    "95 %",
    "random_init",
    "difference",
    "chance",
    "n",
)
# What is no fraction: the least that it can be, and digits behind the point.
NUMBERS = {"median_rank": (0.0, 1), "mean_entropy": (0.0, 2), "d_prime": (-math.inf, 2)}
# Agreement beyond chance: a little below zero by bad luck. Every other metric is between 0 and 1.
SIGNED = ("ari", "ami")
# At most 1, and below zero by as much as there are errors: one for each object would be zero.
WITHOUT_FLOOR = ("mota",)
LESS_IS_BETTER = (
    "median_rank", "mean_entropy", "eer", "min_dcf", "center_distance_x", "center_distance_y"
)  # fmt: skip


def kind_of(metric: str) -> str:
    """A metric without the name of the objective, and of whose labels it is."""
    return metric.rpartition("/")[2].removeprefix("labels_")


def is_fraction(metric: str) -> bool:
    """Whether it is read in percent."""
    return kind_of(metric) not in NUMBERS


def less_is_better(metric: str) -> bool:
    return kind_of(metric) in LESS_IS_BETTER


def bounds_of(metric: str) -> tuple[float, float]:
    """What a number of this metric can be."""
    kind = kind_of(metric)
    if kind in NUMBERS:
        return NUMBERS[kind][0], math.inf
    least = -1.0 if kind in SIGNED else -math.inf if kind in WITHOUT_FLOOR else 0.0
    return least, 1.0


@dataclasses.dataclass(frozen=True)
class Row:
    """One number of a run, beside what the same encoder gives at random initialisation and a guess.

    `n` is the number of clips that were scored. Other clips would have given a value between `low` and `high`
    in 95 of 100 cases (`intervals.py`); None where nobody computed it. `spread`: of a mean over runs, their
    standard deviation. `random_init` is None of what another network gives, whatever the run's weights are.
    """

    protocol: str
    features: str
    metric: str
    value: float
    random_init: float | None
    chance: float
    n: int
    low: float | None = None
    high: float | None = None
    spread: float | None = None

    def __post_init__(self):
        numbers = {"value": self.value, "chance": self.chance}
        if self.random_init is not None:
            numbers["random_init"] = self.random_init
        least, most = bounds_of(self.metric)
        for name, number in numbers.items():
            if not math.isfinite(number) or not least <= number <= most:
                raise ValueError(
                    f"{self.protocol} {self.metric}: {name} is {number}, not from {least} to {most}"
                )

    @property
    def difference(self) -> float | None:
        return None if self.random_init is None else self.value - self.random_init


def write_json(path: epath.PathLike, rows: Sequence[Row], command: str) -> None:
    """{"command": what was typed, "rows": [{"protocol": ..., ...}, ...]}"""
    whole = {"command": command, "rows": [dataclasses.asdict(row) for row in rows]}
    text = json.dumps(whole, indent=2, allow_nan=False)
    write_whole(path, text + "\n", "give another place with --json")


def read_json(path: epath.PathLike) -> list[Row]:
    return [Row(**row) for row in json.loads(epath.Path(path).read_text())["rows"]]


def read_command(path: epath.PathLike) -> str:
    """What was typed to measure the rows; empty in files of before that was written down."""
    return json.loads(epath.Path(path).read_text()).get("command", "")


def write_whole(path: epath.PathLike, text: str, advice: str) -> None:
    """The file is whole or as it was before; a folder that is not there may be a mistyped one."""
    path = epath.Path(path)
    try:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        cache.write_whole(path, text.encode())
    except OSError as error:
        raise AvsslError(
            f"cannot write the results to {path}: {error.strerror or error}; {advice}"
        ) from error


def format_table(rows: Sequence[Row]) -> str:
    """Aligned plain text; fractions in percent, their differences in points."""
    lines = [COLUMNS, *(cells(row) for row in rows)]
    return "\n".join(aligned(lines, left=range(COLUMNS.index("value"))))


def print_table(rows: Sequence[Row], command: str, file: TextIO | None = None) -> None:
    """The table below the command that measured it."""
    print(f"$ {command}\n{format_table(rows)}", file=file or sys.stdout, flush=True)


def cells(row: Row) -> tuple[str, ...]:
    """A row as a person reads it, in the order of `COLUMNS`."""
    scale, digits, _ = reading(row.metric)
    return (
        row.protocol,
        row.features,
        row.metric,
        shown(row.metric, row.value, row.spread),
        interval_shown(row),
        "–" if row.random_init is None else shown(row.metric, row.random_init),
        "–" if row.difference is None else f"{scale * row.difference:+.{digits}f}",
        shown(row.metric, row.chance),
        str(row.n),
    )


def interval_shown(row: Row) -> str:
    if row.low is None or row.high is None:
        return "–"
    return f"{shown(row.metric, row.low).removesuffix(' %')} – {shown(row.metric, row.high)}"


def shown(metric: str, number: float, spread: float | None = None) -> str:
    """A number of this metric as a person reads it: `71.2 %`, or `71.2 ± 1.3 %`."""
    scale, digits, unit = reading(metric)
    plus_minus = "" if spread is None else f" ± {scale * spread:.{digits}f}"
    return f"{scale * number:.{digits}f}{plus_minus}{unit}"


def reading(metric: str) -> tuple[int, int, str]:
    """By how much a number of this metric is multiplied for a person, digits behind the point, the unit."""
    return (100, 1, " %") if is_fraction(metric) else (1, NUMBERS[kind_of(metric)][1], "")
