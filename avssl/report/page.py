"""The page: all sections in one file that asks nobody for anything."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from avssl.console import say
from avssl.errors import AvsslError, UsageError
from avssl.evaluate.rows import write_whole
from avssl.report.bad_data import bad_data
from avssl.report.confusion import confusion
from avssl.report.curves import curves
from avssl.report.evidence import Evidence, gather
from avssl.report.gallery import gallery
from avssl.report.head import foot, head, title
from avssl.report.heat import has_maps, heat
from avssl.report.markup import Markup, note, tag
from avssl.report.runs import ReportedRun, open_runs
from avssl.report.scores import scores
from avssl.report.settings import settings

MOST_BYTES = 15_000_000
# For what the galleries do not know of: titles, the foot, the style.
RESERVED_BYTES = 200_000
FILE = "report.html"

Section = tuple[str, Markup]


def write_report(folders: Sequence[Path], out: Path | None = None, *, clips: bool = True) -> Path:
    """Writes the page of some run folders, by default into the first; where it lies.

    clips: without them, nothing of the data is read or embedded: no gallery, heat maps and confusions.
    """
    runs = open_runs(folders)
    first = [("Results", scores(runs)), ("Curves", curves(runs))]
    last = [("Config", settings(runs))]
    taken = num_bytes([*first, *last])
    of_clips = sections_of_clips(runs, taken) if clips else sections_without_clips(runs)
    sections = [*first, *of_clips, *last]
    page = whole_page(runs, sections)
    size = len(page.encode())
    if size > MOST_BYTES:
        raise UsageError(
            f"the page would have {size:,} bytes, more than {MOST_BYTES:,}: report fewer runs"
        )
    file = out or folders[0] / FILE
    write_whole(file, page, "give another place with --out")
    say(f"wrote {file}, {size / 1e6:.1f} MB")
    return file


def sections_without_clips(runs: Sequence[ReportedRun]) -> list[Section]:
    return [
        ("Nearest clips", note("Left out by --no-clips, as are heat maps and confusions")),
        ("Data", named(runs, {run.name: bad_data(run, None) for run in runs})),
    ]


def num_bytes(sections: Sequence[Section]) -> int:
    return sum(len(body.encode()) for _, body in sections)


def sections_of_clips(runs: Sequence[ReportedRun], taken: int) -> list[Section]:
    """Gallery, heat maps, confusions and what was bad. The galleries have the room that is left of the page.

    taken: bytes of the other sections.
    """
    found = [gathered(run) for run in runs]
    known = [(run, one) for run, one in zip(runs, found, strict=True) if isinstance(one, Evidence)]
    sections: list[Section] = []
    mapped = [(run, one) for run, one in known if has_maps(one)]
    for name, of_one, some in (
        ("Localisation", heat, mapped), ("Confusions", confusion, known),
    ):  # fmt: skip
        if some:
            drawn = [attempted(of_one, one) for _, one in some]
            sections.append(
                (name, named(runs, dict(zip([run.name for run, _ in some], drawn, strict=True))))
            )
    bad = {
        run.name: bad_data(run, one if isinstance(one, Evidence) else None)
        for run, one in zip(runs, found, strict=True)
    }
    sections.append(("Data", named(runs, bad)))
    free = MOST_BYTES - RESERVED_BYTES - taken - num_bytes(sections)
    budget = free // max(len(known), 1)
    galleries = {
        run.name: attempted(partial(gallery, budget=budget), one)
        if isinstance(one, Evidence)
        else note(one)
        for run, one in zip(runs, found, strict=True)
    }
    return [("Nearest clips", named(runs, galleries)), *sections]


def gathered(run: ReportedRun) -> Evidence | str:
    """What a run's encoders say of its data, or why they say nothing."""
    try:
        return gather(run)
    except AvsslError as error:
        return f"Left out, with heat maps and confusions: {error}"


def attempted(make: Callable[[Evidence], Markup], evidence: Evidence) -> Markup:
    """A part of a section, or the sentence that says why it cannot be made."""
    try:
        return make(evidence)
    except AvsslError as error:
        return note(f"Left out: {error}")


def named(runs: Sequence[ReportedRun], bodies: Mapping[str, Markup]) -> Markup:
    """What there is of each run, one below the other; with their names if several are reported."""
    parts = [
        tag("div", tag("h3", name) if len(runs) > 1 else None, body)
        for name, body in bodies.items()
    ]
    return tag("div", parts)


def whole_page(runs: Sequence[ReportedRun], sections: Sequence[Section]) -> str:
    script, style = (
        files("avssl.report").joinpath(name).read_text("utf-8") for name in ("page.js", "page.css")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Nothing is fetched from anywhere, and no script runs but this one.
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    anchored = [(name.lower().replace(" ", "-"), name, body) for name, body in sections]
    links = [tag("a", name, href=f"#{anchor}") for anchor, name, _ in anchored]
    toggle = tag(
        "button", type="button", id="theme", aria_label="light or dark", title="light or dark"
    )
    meta = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title(runs)} – avssl report"),
        tag("style", Markup(style)),
    )
    body = (
        tag("nav", tag("div", links, toggle)),
        tag(
            "main",
            tag("header", tag("h1", title(runs)), head(runs)),
            [tag("section", tag("h2", name), body, id=anchor) for anchor, name, body in anchored],
        ),
        foot(),
        tag("script", Markup(script)),
    )
    return "<!doctype html>\n" + tag("html", tag("head", meta), tag("body", body), lang="en") + "\n"
