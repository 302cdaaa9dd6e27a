"""The first lines of a report: which runs, on what, how long, and what wrote the page."""

import datetime
import statistics
from collections.abc import Sequence

from avssl import __version__
from avssl.evaluate.results import command, commit, machine, training
from avssl.report.markup import Markup, scrolled, tag
from avssl.report.runs import ReportedRun


def title(runs: Sequence[ReportedRun]) -> str:
    return f"{len(runs)} runs" if len(runs) > 1 else runs[0].name


def head(runs: Sequence[ReportedRun]) -> Markup:
    """A table of facts with a column for each run."""
    facts = [facts_of_run(run) for run in runs]
    names = dict.fromkeys(name for each in facts for name in each)
    lines = [
        tag("tr", tag("th", name, scope="row"), [tag("td", each.get(name, "–")) for each in facts])
        for name in names
        if any(name in each for each in facts)
    ]
    header = tag("tr", tag("td"), [tag("th", run.name, scope="col") for run in runs])
    table = tag("table", tag("thead", header) if len(runs) > 1 else None, tag("tbody", lines))
    return scrolled(tag("div", table, class_="facts" if len(runs) > 1 else "facts lone"))


def facts_of_run(run: ReportedRun) -> dict[str, str]:
    """What a reader asks first; what the run does not have is left out."""
    config = run.config
    optimizer, evaluation = config.optimizer, config.eval
    data = evaluation.data or config.data.source
    weights = [keys.get("weight", 1.0) for keys in run.objectives.values()]
    weighted = len(weights) > 1 or weights not in ([], [1], [1.0])
    facts = {
        "objectives": ", ".join(
            f"{keys.get('weight', 1.0):g} × {name}" if weighted else name
            for name, keys in run.objectives.items()
        ),
        "encoders": ", ".join(f"{name}: {keys.name}" for name, keys in config.encoders.items()),
        "teachers": ", ".join(config.get("teachers", {})),
        "starts from": config.init_from,
        "trained on": config.data.source,
        "evaluated on": " → ".join(filter(None, (data, evaluation.test_data))),
        "steps": steps_of(run),
        "batch": f"{config.batch_size} clips",
        "optimiser": f"{optimizer.name}, learning rate {optimizer.learning_rate:g} ({optimizer.schedule})",
        "precision": config.precision,
        "seed": str(config.seed),
    }
    if speeds := [line["clips_per_second"] for line in run.lines if line.get("clips_per_second")]:
        facts["throughput"] = f"{statistics.median(speeds):,.0f} clips/s (median)"
    return {name: fact for name, fact in facts.items() if fact}


def steps_of(run: ReportedRun) -> str:
    steps = f"{run.config.steps:,}"
    if not run.lines:
        return f"0 logged of {steps}"
    done = run.lines[-1]["step"]
    if all(line.get("clips_per_second") for line in run.lines):
        took = f" in {duration(training(run.folder).seconds)}"
    else:
        took = ""
    return (f"{done:,}" if done == run.config.steps else f"{done:,} of {steps}") + took


def duration(seconds: float) -> str:
    """75 -> 1 min 15 s; hours without seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def foot() -> Markup:
    """What wrote the page."""
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return tag(
        "footer",
        tag("p", "Written by ", tag("code", command()), f" on {today}."),
        tag("p", f"avssl {__version__}, commit {commit()}; {machine()}."),
    )
