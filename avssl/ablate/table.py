"""The Markdown of an ablation: rows x columns, and below it the claims. Every number is of a result file."""

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence

from scipy.stats import t as student_t

from avssl.ablate.measured import Key, Measured, Standing, attempted_rows, mean_shown
from avssl.ablate.plan import Ablation, AblationRow, Claim, Column
from avssl.ablate.verdicts import ROUNDING, bar, judged
from avssl.evaluate.results import markdown_table
from avssl.evaluate.rows import less_is_better, shown

DIFFERS = "\\*"  # in Markdown; a plain one could begin a bold word
LEVEL = 0.05


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
    if ablation.notes:
        text = "\n".join([text, *(f"- {note}" for note in ablation.notes), ""])
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
        found = [[getattr(row, name) for row in measured.column(c.key)] for c in columns]
        yield [title, *map(range_shown, (c.metric for c in columns), found), "", ""]
    bars = [[bar(claim) for claim in claims if claim.cell.key == c.key] for c in columns]
    if any(filter(None, (text for texts in bars for text in texts))):
        distinct = ("; ".join(dict.fromkeys(filter(None, texts))) or "–" for texts in bars)
        yield ["bar", *distinct, "", ""]


def range_shown(metric: str, values: Sequence[float | None]) -> str:
    """The lowest and the highest: rows with other encoders or other data have another baseline, or none."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = shown(metric, min(known)), shown(metric, max(known))
    return low if low == high else f"{low.removesuffix(' %')} – {high}"
