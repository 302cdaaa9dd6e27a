"""Curves of `metrics.jsonl`: losses, what watches over collapse, and how fast it went."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from avssl.evaluate.rows import is_fraction
from avssl.report.chart import Chart, Line, draw, key_entry
from avssl.report.markup import Markup, note, tag
from avssl.report.runs import ReportedRun
from avssl.report.thinning import Point

# Points of a line with few runs; many runs share what they would take.
MOST_POINTS, LEAST_POINTS, RUNS_AT_MOST_POINTS = 300, 60, 4
NUM_COLOURS, NUM_DASHES = 8, 4
# Metrics that belong into one chart: the sides or directions of one thing.
SIDES = re.compile(
    r"(audio_to_video|video_to_audio|audio_from_video|video_from_audio|audio|video|joint|positive|negative)"
    r"(?:_(.+))?"
)
# Titles and units of what is worth a look in every run; the others are folded away.
TITLES = {
    "loss": ("loss", ""),
    "std": ("deviation of the embeddings", ""),
    "participation_ratio": ("participation ratio", "dimensions in use"),
    "cosine": ("cosine of the pairs", ""),
    "distance": ("distance of the pairs", ""),
    "top1": ("right one is nearest in the batch", ""),
    "accuracy": ("accuracy in the batch", ""),
    "in_sync_top1": ("in-sync one is nearest", ""),
}
SPEED = ("clips_per_second", "data_wait_fraction")
# What has a chart of its own, or stands in the section of what was bad.
KNOWN = ("step", "loss", "gradient_norm", *SPEED, "bad_clips", "seen_clips", "incomplete_clips")
FIRST_SIDES = ("video", "positive", "video → audio")
FRACTION = re.compile(r"(^|_)(top1|accuracy|fraction|agreement|changed|largest_cluster)$")
FROM_ZERO = re.compile(r"(_std|_participation_ratio|_top1|accuracy|_fraction|_per_second)$")

# An objective and a family of its metrics.
Family = tuple[str, str]


def curves(runs: Sequence[ReportedRun]) -> Markup:
    """All charts; a line for a run without a log."""
    without = [run.name for run in runs if not run.lines]
    silent = note(f"No metrics.jsonl with a line in it: {', '.join(without)}") if without else None
    if len(without) == len(runs):
        return tag("div", silent)
    most = max(
        LEAST_POINTS, MOST_POINTS * RUNS_AT_MOST_POINTS // max(len(runs), RUNS_AT_MOST_POINTS)
    )
    shown, folded = chosen_charts(runs)
    shown = [*shown, *result_charts(runs)]
    drawn = [figure for chart in shown if (figure := draw(chart, most)) is not None]
    others = [figure for chart in folded if (figure := draw(chart, most)) is not None]
    more = None
    if others:
        summary = tag("summary", f"{len(others)} more of what was logged")
        more = tag("details", summary, tag("div", others, class_="charts"))
    return tag("div", run_key(runs), silent, tag("div", drawn, class_="charts"), more)


def chosen_charts(runs: Sequence[ReportedRun]) -> tuple[list[Chart], list[Chart]]:
    """What is shown at once, and what is folded away."""
    shown, folded = [], []
    if any(len(run.objectives) > 1 for run in runs):
        shown.append(chart_of(runs, ["loss"], "loss of all objectives together"))
    for (objective, family), metrics in found_families(runs).items():
        title, unit = TITLES.get(family, (family.replace("_", " "), ""))
        chart = chart_of(runs, metrics, f"{objective}: {title}" if objective else title, unit)
        (shown if family in TITLES else folded).append(chart)
    shown.append(chart_of(runs, ["gradient_norm"], "norm of the gradient"))
    shown.append(chart_of(runs, [SPEED[0]], "throughput", "clips a second"))
    shown.append(chart_of(runs, [SPEED[1]], "time spent waiting for data"))
    return shown, folded


def result_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """What was evaluated during training: a chart for each protocol and metric, a line for what it is of."""
    results = [dataclasses.replace(run, lines=[flat(line) for line in run.history]) for run in runs]
    families: dict[Family, dict[str, None]] = {}
    for line in (line for run in runs for line in run.history):
        for row in line["rows"]:
            family = row["protocol"], row["metric"]
            families.setdefault(family, {})[result_key(row)] = None
    return [
        dataclasses.replace(
            chart_of(results, list(metrics), f"{protocol}: {metric.replace('_', ' ')}"),
            percent=is_fraction(metric),
        )
        for (protocol, metric), metrics in families.items()
    ]


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the history as one of metrics."""
    return {"step": line["step"], **{result_key(row): row["value"] for row in line["rows"]}}


def result_key(row: Mapping[str, Any]) -> str:
    """Such as `retrieval/r1/video_to_audio`: what it is of stands where `split_side` looks."""
    return f"{row['protocol']}/{row['metric']}/{row['features'].replace('->', '_to_')}"


def found_families(runs: Sequence[ReportedRun]) -> dict[Family, list[str]]:
    """The metrics of all runs that belong into one chart each; losses first, then in the order of `TITLES`.

    What means the same whatever the objective (not its loss) is one chart of all runs where each has one
    objective: then the family has none.
    """
    metrics = dict.fromkeys(key for run in runs for line in run.lines for key in line)
    apart = any(len(run.objectives) > 1 for run in runs) or len(runs) == 1
    families: dict[Family, list[str]] = {}
    for metric in metrics:
        objective, _, name = metric.rpartition("/")
        if metric in KNOWN or objective.startswith("teachers/"):
            continue  # drawn by their names, or counts, which stand below
        family = split_side(name)[1] if objective else name
        shared = not apart and family in TITLES and family != "loss"
        families.setdefault(("" if shared else objective, family), []).append(metric)
    order = {family: place for place, family in enumerate(TITLES)}
    return dict(sorted(families.items(), key=lambda item: order.get(item[0][1], len(order))))


def split_side(metric: str) -> tuple[str, str]:
    """(which side or direction, of what): `video_std` is ("video", "std")."""
    match = SIDES.fullmatch(metric)
    if match is None:
        return "", metric
    side = match[1].replace("_to_", " → ").replace("_from_", " from ")
    return side, match[2] or "by direction"


def chart_of(
    runs: Sequence[ReportedRun], metrics: Sequence[str], title: str, unit: str = ""
) -> Chart:
    """A line for each run and metric: runs differ by colour, sides by dash, or by colour in a lone run."""
    alone = len(runs) == 1
    side_of = {metric: split_side(metric.rpartition("/")[2])[0] for metric in metrics}
    sides = sorted(dict.fromkeys(side_of.values()), key=FIRST_SIDES.__contains__, reverse=True)
    lines = []
    for place, run in enumerate(runs):
        for metric in sorted(metrics, key=lambda metric: sides.index(side_of[metric])):
            if points := points_of(run, metric):
                side, number = side_of[metric], sides.index(side_of[metric])
                label = " ".join(filter(None, ("" if alone else run.name, side)))
                lines.append(Line(label or title, points, *look(place, number, alone)))
    key = [(side, *look(-1, number, alone)) for number, side in enumerate(sides) if side]
    name = metrics[0].rpartition("/")[2]
    return Chart(
        title, lines, unit, percent=bool(FRACTION.search(name)), from_zero=bool(FROM_ZERO.search(name)),
        key=key,
    )  # fmt: skip


def look(run: int, side: int, alone: bool) -> tuple[int, int]:
    """(colour, dash) of a line."""
    if alone:
        return side % NUM_COLOURS, 0
    return (run % NUM_COLOURS if run >= 0 else run), side % NUM_DASHES


def points_of(run: ReportedRun, metric: str) -> list[Point]:
    """(step, value) of the lines that have the metric; None for a number that was not finite."""
    return [
        (float(line["step"]), line[metric])
        for line in run.lines
        if metric in line and isinstance(line[metric], int | float | None)
    ]


def run_key(runs: Sequence[ReportedRun]) -> Markup | None:
    """Which colour is which run, once for all charts."""
    if len(runs) == 1:
        return None
    entries = [key_entry(run.name, place % NUM_COLOURS, 0) for place, run in enumerate(runs)]
    return tag("p", entries, class_="legend runs")
