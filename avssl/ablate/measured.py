"""What the runs of an ablation have measured so far, number by number."""

import dataclasses
import difflib
import statistics
from collections.abc import Iterable, Sequence

from avssl.ablate.plan import Cell
from avssl.ablate.record import Result, Run
from avssl.evaluate.rows import Row, shown

Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Standing:
    """What is known of a run: its result, or why there is none."""

    run: Run
    result: Result | None
    failure: str


def attempted_rows(standings: Iterable[Standing]) -> set[str]:
    """The names of the rows of which a run has a result or failed."""
    return {one.run.row.name for one in standings if one.result or one.failure}


class Measured:
    """Every number of every result, by row, key and seed."""

    def __init__(self, standings: Iterable[Standing]):
        self.standings = list(standings)
        self._rows: dict[tuple[str, Key], dict[int, Row]] = {}
        for standing in self.standings:
            for row in standing.result.rows if standing.result else ():
                place = standing.run.row.name, (row.protocol, row.features, row.metric)
                self._rows.setdefault(place, {})[standing.run.seed] = row

    def of(self, row: str, key: Key) -> dict[int, Row]:
        """A cell's rows by seed."""
        return self._rows.get((row, key), {})

    def lacking(self, cell: Cell) -> str:
        """Which row was not run, or what its results have not."""
        ran = any(one.result and one.run.row.name == cell.row for one in self.standings)
        return f"{cell.row} has no {' '.join(cell.key)}" if ran else cell.row

    def mistyped(self, key: Key) -> str:
        """The nearest number, where results have the key's protocol and none of them the number."""
        names = sorted({" ".join(other) for _, other in self._rows if other[0] == key[0]})
        wanted = " ".join(key)
        if not names or wanted in names:
            return ""
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.0)
        return f"no result has '{wanted}'; the nearest is '{near[0]}'"

    def column(self, key: Key) -> list[Row]:
        """The same number of all rows and seeds."""
        found = [by_seed for (_, other), by_seed in self._rows.items() if other == key]
        return [row for by_seed in found for row in by_seed.values()]


def mean_shown(metric: str, values: Sequence[float]) -> str:
    """The mean, and with several seeds their spread."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return shown(metric, statistics.mean(values), spread)
