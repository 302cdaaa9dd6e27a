"""The tables of `eval.json`: each number beside random initialisation and chance, several runs side by side."""

import statistics
from collections.abc import Sequence

from avssl.errors import UsageError
from avssl.evaluate.rows import Row, cells, is_fraction, shown
from avssl.report.chart import key_entry
from avssl.report.curves import NUM_COLOURS
from avssl.report.markup import Markup, note, scrolled, tag
from avssl.report.runs import ReportedRun

# What is measured, of what.
Key = tuple[str, str, str]
STRIP_WIDTH, STRIP_HEIGHT, STRIP_EDGE = 132, 14, 5


def scores(runs: Sequence[ReportedRun]) -> Markup:
    """One table; a line for a run without results."""
    tables: list[dict[Key, Row]] = []
    missing, commands = [], []
    for run in runs:
        try:
            rows = run.rows()
            if command := run.command():
                commands.append(note(f"{run.name}: {command}"))
        except UsageError as error:
            missing.append(note(str(error)))
            rows = []
        tables.append({(row.protocol, row.features, row.metric): row for row in rows})
    keys = list(dict.fromkeys(key for table in tables for key in table))
    if not keys:
        return tag("div", missing)
    table = scrolled(table_of(runs, tables, keys))
    return tag("div", missing, table, explanation(len(runs)), commands)


def table_of(
    runs: Sequence[ReportedRun], tables: Sequence[dict[Key, Row]], keys: Sequence[Key]
) -> Markup:
    several = len(runs) > 1
    columns = ("value", "random", "difference", "chance", "clips")
    of_runs = [
        tag(
            "th", key_entry(run.name, place % NUM_COLOURS, 0), scope="colgroup", colspan=len(columns),
            class_="run",
        )
        for place, run in enumerate(runs)
    ]  # fmt: skip
    first = (
        tag("tr", tag("td", colspan=3), tag("td", class_="pictured"), of_runs) if several else None
    )
    names = ("protocol", "features", "metric")
    second = tag(
        "tr",
        [tag("th", name, scope="col") for name in names],
        tag("td", class_="pictured"),
        [number_head(name, place) for _ in runs for place, name in enumerate(columns)],
    )
    body, before = [], ""
    for key in keys:
        found = [table.get(key) for table in tables]
        begins = key[0] != before
        before = key[0]
        body.append(line_of(key, found, begins))
    return tag("table", tag("thead", first, second), tag("tbody", body), class_="scores")


def number_head(name: str, place: int) -> Markup:
    return tag("th", name, scope="col", class_="number run" if place == 0 else "number")


def line_of(key: Key, found: Sequence[Row | None], begins: bool) -> Markup:
    protocol, features, metric = key
    words = (
        tag("th", protocol if begins else "", scope="row"),
        tag("td", features.replace("->", " → ")),
        tag("td", metric.replace("_", " ")),
        tag("td", strip(metric, found), class_="pictured"),
    )
    return tag("tr", words, [numbers(row) for row in found], class_="begins" if begins else None)


def numbers(row: Row | None) -> list[Markup]:
    """Value, random initialisation, difference, chance and clips, as the printed table has them."""
    if row is None:
        return [
            tag("td", "–", class_=f"number{' run' if place == 0 else ''}") for place in range(5)
        ]
    value, interval, random, difference, chance, num = cells(row)[3:]
    told = None if row.low is None else f"95 %: {interval}"
    return [
        tag("td", tag("b", value), class_="number run", title=told),
        tag("td", random, class_="number weak"),
        tag("td", difference.replace("-", "−"), class_="number"),
        tag("td", chance, class_="number weak"),
        tag("td", f"{int(num):,}", class_="number weak"),
    ]


def strip(metric: str, found: Sequence[Row | None]) -> Markup | None:
    """From 0 to 100 %: a stroke at chance, rings at random initialisation, dots at the runs' values."""
    rows = [(place, row) for place, row in enumerate(found) if row is not None]
    if not is_fraction(metric) or min(row.value for _, row in rows) < 0:
        return None

    def across(fraction: float) -> str:
        inner = STRIP_WIDTH - 2 * STRIP_EDGE
        return f"{STRIP_EDGE + min(max(fraction, 0.0), 1.0) * inner:.1f}"

    middle = STRIP_HEIGHT / 2
    marks = [tag("line", x1=across(0), x2=across(1), y1=middle, y2=middle, class_="rail")]
    for place, row in rows:
        x = across(row.chance)
        colour = f"c{place % NUM_COLOURS}"
        marks.append(tag("line", x1=x, x2=x, y1=2, y2=STRIP_HEIGHT - 2, class_="chance"))
        if row.random_init is None:
            continue
        start = across(row.random_init)
        marks.append(
            tag(
                "line",
                x1=start,
                x2=across(row.value),
                y1=middle,
                y2=middle,
                class_=f"gain {colour}",
            )
        )
        marks.append(tag("circle", cx=start, cy=middle, r=2.6, class_=f"random {colour}"))
    for place, row in rows:
        colour = f"c{place % NUM_COLOURS}"
        marks.append(
            tag("circle", cx=across(row.value), cy=middle, r=3.6, class_=f"value {colour}")
        )
    mean = shown(metric, statistics.mean(row.value for _, row in rows))
    return tag(
        "svg", marks, viewBox=f"0 0 {STRIP_WIDTH} {STRIP_HEIGHT}", width=STRIP_WIDTH,
        height=STRIP_HEIGHT, class_="strip", role="img",
        aria_label=f"{mean} of 100 %" if len(rows) == 1 else f"{mean} in the mean of {len(rows)} runs",
    )  # fmt: skip


def explanation(num_runs: int) -> Markup:
    colours = ", in the colours of the runs" if num_runs > 1 else ""
    return note(
        "Random: the same encoders at random initialisation; difference: to it, of fractions in points. In the "
        f"strips, from 0 to 100 %: a dot at the value, a ring at random, a stroke at chance{colours}."
    )
