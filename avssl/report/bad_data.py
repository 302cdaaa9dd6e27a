"""What was bad in the data: what training counted, and what the evaluation could not use."""

from collections.abc import Iterator

from avssl.report.evidence import Evidence, Used
from avssl.report.markup import Markup, note, tag
from avssl.report.runs import ReportedRun

MOST_NAMED = 20


def bad_data(run: ReportedRun, evidence: Evidence | None) -> Markup:
    counts = [
        tag("tr", tag("th", name, scope="row"), tag("td", count, class_="number"), tag("td", said))
        for name, count, said in (*of_training(run), *of_parts(evidence))
    ]
    table = tag("table", tag("tbody", counts), class_="counts") if counts else None
    if not counts:
        table = note("Nothing was counted: the run has no log, and no clip was looked at")
    return tag("div", table, [named(part) for part in evidence.parts] if evidence else None)


def of_training(run: ReportedRun) -> Iterator[tuple[str, str, str]]:
    """(what, how many, what that means) by the run's log."""
    last = next((line for line in reversed(run.lines) if "seen_clips" in line), None)
    if last is not None:
        seen = int(last["seen_clips"])
        yield "clips in training", f"{seen:,}", f"until step {last['step']:,}"
        bad = int(last.get("bad_clips", 0))
        yield "could not be read", f"{bad:,}", f"{share(bad, seen)}, each replaced by another clip"
        for key in last:
            if key.startswith("teachers/") and key.endswith("/untaught_clips"):
                missing = int(last[key])
                teacher = key.split("/")[1]
                said = (
                    f"{share(missing, seen)}, of which the store of teacher {teacher} has nothing"
                )
                yield "untaught", f"{missing:,}", said
    logged = [line["incomplete_clips"] for line in run.lines if "incomplete_clips" in line]
    if logged:
        # Of single steps, unlike the counts above.
        clips = len(logged) * int(run.config.batch_size)
        said = f"{share(sum(logged), clips)} of the {clips:,} clips in the {len(logged):,} logged steps"
        yield "lack a modality", f"{sum(logged):,}", said
    if run.num_torn_lines:
        yield "torn lines of the log", f"{run.num_torn_lines:,}", "left out of all curves"


def of_parts(evidence: Evidence | None) -> Iterator[tuple[str, str, str]]:
    for part in evidence.parts if evidence else ():
        num_looked = len(part.looked_at)
        drawn = part.num_without + num_looked
        said = f"of {part.num_records:,} records of {part.source.spec}"
        if drawn < part.num_records:
            said += f", of which {drawn:,} were drawn by the seed"
        yield f"{part.name}: used", f"{len(part.used):,}", said
        if part.num_without:
            yield f"{part.name}: lack a modality", f"{part.num_without:,}", "as the source knows"
        if len(part.lost):
            unreadable = part.num_unreadable
            said = f"{unreadable:,} cannot be read, {len(part.lost) - unreadable:,} lack a modality"
            yield f"{part.name}: lost", f"{len(part.lost):,}", said
        if skipped := getattr(part.source, "skipped", ()):
            yield f"{part.name}: left out", f"{len(skipped):,}", "when the source was read"


def named(part: Used) -> Markup | None:
    """The first of the clips that were lost or left out, by key."""
    lost = [part.source.key(int(index)) for index in part.lost[:MOST_NAMED]]
    skipped = [f"{key}: {why}" for key, why in getattr(part.source, "skipped", ())[:MOST_NAMED]]
    if not lost and not skipped:
        return None
    lines = [tag("li", tag("code", key)) for key in (*lost, *skipped)]
    summary = tag("summary", f"{part.name}: which clips (the first {MOST_NAMED} of each kind)")
    return tag("details", summary, tag("ul", lines))


def share(count: int, total: int) -> str:
    return f"{100 * count / max(total, 1):.2g} %"
