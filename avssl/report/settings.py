"""The configs of the runs: what differs between them, and every key, to be searched."""

import json
from collections.abc import Sequence
from typing import Any

from avssl.config import changed_keys, differences, to_json
from avssl.config.compare import is_free, is_of_evaluation
from avssl.report.markup import Markup, note, scrolled, tag
from avssl.report.runs import ReportedRun

ABSENT = "–"


def settings(runs: Sequence[ReportedRun]) -> Markup:
    """With several runs the keys that differ; then all keys."""
    return tag("div", comparison(runs) if len(runs) > 1 else None, everything(runs))


def comparison(runs: Sequence[ReportedRun]) -> Markup:
    """What moves numbers in plain type, what does not (places, workers, logging) in grey."""
    differing = differing_keys(runs)
    first = to_json(runs[0].config)
    moving = {
        line.partition(":")[0]
        for run in runs[1:]
        for line in differences(first, to_json(run.config))
    }
    if not differing:
        return note("The configs are equal in every key")
    ordered = sorted(differing, key=lambda key: (moves_nothing(key), key not in moving, key))
    body = [
        line_of(key, runs, class_="free" if moves_nothing(key) else None)
        for key in ordered
    ]  # fmt: skip
    said = f"{len(differing)} keys differ"
    if any(map(moves_nothing, differing)):
        said += "; those in grey move no number"
    if any(map(is_of_evaluation, differing)):
        said += "; those of eval say what was measured: where they differ, so may results of one training"
    return tag("div", note(said), table_of(runs, body))


def differing_keys(runs: Sequence[ReportedRun]) -> list[str]:
    """Keys that are not the same in all runs; one that a run does not know counts where it says something."""
    found = dict.fromkeys(
        key for run in runs[1:] for key in changed_keys(flat_of(runs[0]), flat_of(run))
    )
    return list(found)


def moves_nothing(key: str) -> bool:
    return is_free(key) and not is_of_evaluation(key)


def everything(runs: Sequence[ReportedRun]) -> Markup:
    """All keys of all runs, folded up where differences stand before them, with a field that filters them."""
    keys = sorted({key for run in runs for key in flat_of(run)})
    field = tag(
        "input", type="search", placeholder="filter keys and values", aria_label="filter the config",
        class_="filter", autocomplete="off",
    )  # fmt: skip
    table = tag(
        "div", field, table_of(runs, [line_of(key, runs) for key in keys]), class_="filtered"
    )
    if len(runs) == 1:
        return table
    return tag("details", tag("summary", f"all {len(keys)} keys"), table)


def table_of(runs: Sequence[ReportedRun], body: Sequence[Markup]) -> Markup:
    header = tag(
        "tr", tag("th", "key", scope="col"),
        [tag("th", run.name if len(runs) > 1 else "value", scope="col") for run in runs],
    )  # fmt: skip
    return scrolled(tag("table", tag("thead", header), tag("tbody", body), class_="config"))


def line_of(key: str, runs: Sequence[ReportedRun], class_: str | None = None) -> Markup:
    values = [
        tag("td", written(flat_of(run)[key]) if key in flat_of(run) else ABSENT) for run in runs
    ]
    return tag("tr", tag("th", key, scope="row"), values, class_=class_)


def flat_of(run: ReportedRun) -> dict[str, Any]:
    return run.flat


def written(value: Any) -> str:
    """As JSON, but a string as it is."""
    return value if isinstance(value, str) and value else json.dumps(value, default=str)
