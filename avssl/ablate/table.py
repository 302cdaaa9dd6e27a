"""The Markdown of an ablation: rows x columns, and below it the claims. Every number is of a result file."""

import dataclasses
import difflib
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

from scipy.stats import t as student_t

from avssl.ablate.plan import Ablation, AblationRow, Cell, Claim, Column, PartOfWay, WithGain
from avssl.ablate.record import Result, Run
from avssl.evaluate.results import markdown_table
from avssl.evaluate.rows import Row, less_is_better, shown

NOT_MEASURED = "not measured"
# Differences of fractions that were written in decimals are off by a rounding.
ROUNDING = 1e-9
# Less than the table shows is no difference.
LEAST_DIFFERENCE = 0.0005
DIFFERS = "\\*"  # in Markdown; a plain one could begin a bold word
LEVEL = 0.05

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


def facts(standings: Sequence[Standing], ablation: Ablation) -> Iterator[str]:
    """How much of the ablation is there, where its numbers come from, and what failed."""
    found = [standing.result for standing in standings if standing.result]
    origins = [result.facts for result in found]
    steps, seconds = sum(o.steps for o in origins), sum(o.train_seconds for o in origins)
    trained = f", {steps:,} steps in {seconds / 3600:.1f} h of training" if found else ""
    yield f"{len(found)} of {len(standings)} runs measured{trained}"
    attempted = attempted_rows(standings)
    waiting = dict.fromkeys(standing.run.row.name for standing in standings)
    if names := [name for name in waiting if name not in attempted]:
        yield f"not run yet: {', '.join(names)}"
    if found:
        yield f"commit {', '.join(sorted({origin.commit for origin in origins}))}"
        yield from sorted({origin.machine for origin in origins})
    rows = [result.row for result in found]
    if len(rows) > len(set(rows)):
        yield "±: standard deviation over seeds (n - 1)"
    if ablation.base and found:
        yield (
            f"bold: the best of its column; {DIFFERS}: differs from {ablation.base}, p < {LEVEL} in a paired "
            "t-test over common seeds, for each number by itself"
        )
    measured = Measured(standings)
    asked = [c.key for c in ablation.columns]
    asked += [cell.key for claim in ablation.claims for cell in claim.cells()]
    yield from filter(None, map(measured.mistyped, dict.fromkeys(asked)))
    for standing in standings:
        if standing.failure and not standing.result:
            yield f"{standing.run.name} failed: {standing.failure}"


def tables(ablation: Ablation, standings: Sequence[Standing]) -> str:
    """Without the rows that `facts` lists as not run, and the columns that only those would fill."""
    measured = Measured(standings)
    columns = filled_columns(ablation, measured)
    text = markdown_table(
        headings(columns),
        [
            *([cell.markdown for cell in line] for line in lines(ablation, measured)),
            *baseline_lines(columns, ablation.claims, measured),
        ],
    )
    if ablation.claims:
        claims = [[claim.sentence, *judged(claim, measured)] for claim in ablation.claims]
        text = f"{text}\n{markdown_table(['claim', 'measured', 'holds'], claims)}"
    if (printed := ablation.published) is not None:
        table = markdown_table(list(printed.headings), [list(line) for line in printed.lines])
        text = f"{text}\nAs published, not measured here ({printed.source}):\n\n{table}"
    return text


def filled_columns(ablation: Ablation, measured: Measured) -> list[Column]:
    return [column for column in ablation.columns if measured.column(column.key)]


def headings(columns: Sequence[Column]) -> list[str]:
    return ["row", *(column.heading for column in columns), "seeds", "minutes"]


@dataclasses.dataclass(frozen=True)
class Text:
    """A cell as it is read, and whether it is to stand out."""

    text: str
    bold: bool = False

    @property
    def markdown(self) -> str:
        return f"**{self.text}**" if self.bold else self.text


def lines(ablation: Ablation, measured: Measured) -> list[list[Text]]:
    """A line of each row that was tried: its name, its numbers, seeds, minutes."""
    attempted = attempted_rows(measured.standings)
    rows = [row for row in ablation.rows if row.name in attempted]
    columns = filled_columns(ablation, measured)
    best = {column.key: best_row(rows, column.key, measured) for column in columns}
    made = []
    for row in rows:
        name, *numbers, seeds, minutes = row_line(row, columns, measured)
        cells = []
        for column, text in zip(columns, numbers, strict=True):
            differs = ablation.base and differs_from(ablation.base, row.name, column.key, measured)
            is_best = bool(ablation.base) and best[column.key] == row.name
            cells.append(Text(f"{text} {DIFFERS}" if differs else text, is_best))
        made.append([Text(name), *cells, Text(seeds), Text(minutes)])
    return made


def best_row(rows: Sequence[AblationRow], key: Key, measured: Measured) -> str:
    """The name of the row with the best mean, the first of equals; nothing where one alone is measured."""
    means = {
        row.name: statistics.mean(number.value for number in found.values())
        for row in rows
        if (found := measured.of(row.name, key))
    }
    if len(means) < 2:
        return ""
    return (min if less_is_better(key[2]) else max)(means, key=means.__getitem__)


def differs_from(base: str, row: str, key: Key, measured: Measured) -> bool:
    """Whether a paired t-test over the seeds that both have tells a row from the base."""
    ours, theirs = measured.of(row, key), measured.of(base, key)
    differences = [ours[seed].value - theirs[seed].value for seed in ours.keys() & theirs.keys()]
    # Without spread there is nothing to compare a difference with.
    if row == base or len(differences) < 2 or statistics.stdev(differences) < ROUNDING:
        return False
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    statistic = abs(statistics.mean(differences)) / error
    return 2 * float(student_t.sf(statistic, len(differences) - 1)) < LEVEL


def row_line(row: AblationRow, columns: Sequence[Column], measured: Measured) -> list[str]:
    standings = [standing for standing in measured.standings if standing.run.row is row]
    found = [standing.result for standing in standings if standing.result]
    empty = "–" if found else "failed"
    cells = []
    for column in columns:
        values = [number.value for number in measured.of(row.name, column.key).values()]
        cells.append(mean_shown(column.metric, values) if values else empty)
    seeds = str(len(found)) if len(found) == len(standings) else f"{len(found)} of {len(standings)}"
    minutes = [result.facts.train_seconds / 60 for result in found]
    return [row.name, *cells, seeds, f"{statistics.mean(minutes):.1f}" if minutes else "–"]


def baseline_lines(
    columns: Sequence[Column], claims: Sequence[Claim], measured: Measured
) -> Iterator[list[str]]:
    """Random initialisation and chance, over all rows and seeds; then the bars of the claims."""
    for title, name in (("random initialisation", "random_init"), ("chance", "chance")):
        values = {c.key: [getattr(row, name) for row in measured.column(c.key)] for c in columns}
        yield [title, *(range_shown(c.metric, values[c.key]) for c in columns), "", ""]
    bars = [[bar(claim) for claim in claims if claim.cell.key == c.key] for c in columns]
    if any(filter(None, (text for texts in bars for text in texts))):
        distinct = ("; ".join(dict.fromkeys(filter(None, texts))) or "–" for texts in bars)
        yield ["bar", *distinct, "", ""]


def bar(claim: Claim) -> str:
    """What a claim asks for, other than to beat another row."""
    margin = better_by(claim) * claim.margin
    points = f" {100 * margin:+.1f}" if margin else ""
    match claim.above:
        case Cell() | WithGain():
            return ""
        case PartOfWay(fraction, cell):
            return f"{fraction:.0%} of the way to {cell.row}{points}"
        case "random_init":
            return f"random{points}"
        case "chance":
            return f"chance{points}"
    return shown(claim.cell.metric, claim.above + margin)


def judged(claim: Claim, measured: Measured) -> tuple[str, str]:
    """What was measured over the seeds that both sides have, and whether the claim holds."""
    missing = [
        measured.lacking(cell) for cell in claim.cells() if not measured.of(cell.row, cell.key)
    ]
    own = measured.of(claim.cell.row, claim.cell.key)
    sides = {seed: reference(claim, row, seed, measured) for seed, row in own.items()}
    pairs = [(own[seed].value, side) for seed, side in sides.items() if side is not None]
    if not pairs:
        lacking = f": {', '.join(dict.fromkeys(missing))}" if missing else " with the same seed"
        return f"{NOT_MEASURED}{lacking}", "–"
    values, references = (list(side) for side in zip(*pairs, strict=True))
    difference = statistics.mean(values) - statistics.mean(references)
    holding = sum(holds(claim, value - side) for value, side in pairs)
    metric, sign = claim.cell.metric, better_by(claim)
    fixed = isinstance(claim.above, float | int)
    against = shown(metric, references[0]) if fixed else mean_shown(metric, references)
    needed = f" (needs {100 * sign * claim.margin:+.1f})" if claim.margin else ""
    text = (
        f"{mean_shown(metric, values)} against {against} ({named(claim)}), "
        f"{100 * difference:+.1f} points{needed}, in {holding} of {len(pairs)} "
        f"seed{'s' if len(pairs) > 1 else ''}"
    )
    return text, "yes" if holds(claim, difference) else "no"


def reference(claim: Claim, row: Row, seed: int, measured: Measured) -> float | None:
    """What the claimed cell is compared with at this seed, if that was measured."""

    def value(cell: Cell) -> float | None:
        other = measured.of(cell.row, cell.key).get(seed)
        return None if other is None else other.value

    match claim.above:
        case Cell() as cell:
            return value(cell)
        case WithGain(cell, better, worse):
            here, more, less = value(cell), value(better), value(worse)
            if here is None or more is None or less is None:
                return None
            return here + more - less
        case PartOfWay(fraction, cell):
            upper = value(cell)
            way = None if upper is None else upper - row.random_init
            return None if way is None else row.random_init + fraction * way
        case "random_init":
            return row.random_init
        case "chance":
            return row.chance
    return claim.above


def better_by(claim: Claim) -> int:
    """The sign of a difference that speaks for the claim."""
    return -1 if less_is_better(claim.cell.metric) else 1


def holds(claim: Claim, difference: float) -> bool:
    """A bar or a margin may be just reached; what must be better must be seen to be."""
    difference *= better_by(claim)
    if claim.margin or isinstance(claim.above, float | int | PartOfWay):
        return difference >= claim.margin - ROUNDING
    return difference >= LEAST_DIFFERENCE


def named(claim: Claim) -> str:
    match claim.above:
        case Cell() as cell:
            same = cell.key == claim.cell.key
            return cell.row if same else f"{cell.row} {' '.join(cell.key)}"
        case WithGain(cell, better, worse):
            return (
                f"{cell.row} and what {better.row} gains over {worse.row} in {' '.join(better.key)}"
            )
        case PartOfWay(fraction, cell):
            return f"{fraction:.0%} of the way from random initialisation to {cell.row}"
        case "random_init":
            return "random initialisation"
        case "chance":
            return "chance"
    return "bar"


def mean_shown(metric: str, values: Sequence[float]) -> str:
    """The mean, and with several seeds their spread."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return shown(metric, statistics.mean(values), spread)


def range_shown(metric: str, values: Sequence[float]) -> str:
    """The lowest and the highest: rows with other encoders or other data have another baseline."""
    if not values:
        return "–"
    low, high = shown(metric, min(values)), shown(metric, max(values))
    return low if low == high else f"{low.removesuffix(' %')} – {high}"
