"""The page: all sections in one file that asks nobody for anything."""

import base64
import hashlib
from collections.abc import Callable, Sequence
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
RESERVED_BYTES = 50_000
FILE = "report.html"

Section = tuple[str, Markup]


def write_report(folders: Sequence[Path], out: Path | None = None, *, clips: bool = True) -> Path:
    """Writes the page of some run folders, by default into the first; where it lies.

    clips: without them, nothing of the data is read or embedded: no gallery, heat maps and confusions.
    """
    runs = open_runs(folders)
    sections = [
        ("Results", scores(runs)),
        ("Curves", curves(runs)),
        *(sections_of_clips(runs) if clips else sections_without_clips(runs)),
        ("Config", settings(runs)),
    ]
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
        ("Nearest clips", note("left out by --no-clips, as are heat maps and confusions")),
        ("Data", of_runs(runs, [bad_data(run, None) for run in runs])),
    ]


def sections_of_clips(runs: Sequence[ReportedRun]) -> list[Section]:
    """Gallery, heat maps, confusions and what was bad; the gallery last, in the room that is left."""
    found = [gathered(run) for run in runs]
    known = [(run, one) for run, one in zip(runs, found, strict=True) if isinstance(one, Evidence)]
    sections: list[Section] = []
    mapped = [(run, one) for run, one in known if has_maps(one)]
    for name, of_one, some in (
        ("Localisation", heat, mapped), ("Confusions", confusion, known),
    ):  # fmt: skip
        if some:
            drawn = [attempted(of_one, one) for _, one in some]
            sections.append((name, of_runs([run for run, _ in some], drawn)))
    bad = [
        bad_data(run, one if isinstance(one, Evidence) else None)
        for run, one in zip(runs, found, strict=True)
    ]
    sections.append(("Data", of_runs(runs, bad)))
    taken = sum(len(body.encode()) for _, body in sections)
    for body in (head(runs), scores(runs), curves(runs), settings(runs)):
        taken += len(body.encode())
    budget = (MOST_BYTES - RESERVED_BYTES - taken) // max(len(known), 1)
    galleries = [
        attempted(lambda one: gallery(one, budget), one) if isinstance(one, Evidence) else note(one)
        for one in found
    ]
    return [("Nearest clips", of_runs(runs, galleries)), *sections]


def gathered(run: ReportedRun) -> Evidence | str:
    """What a run's encoders say of its data, or why they say nothing."""
    try:
        return gather(run)
    except AvsslError as error:
        return f"left out, with heat maps and confusions: {error}"


def attempted(make: Callable[[Evidence], Markup], evidence: Evidence) -> Markup:
    """A part of a section, or the sentence that says why it cannot be made."""
    try:
        return make(evidence)
    except AvsslError as error:
        return note(f"left out: {error}")


def of_runs(runs: Sequence[ReportedRun], bodies: Sequence[Markup]) -> Markup:
    """One below the other, with their names if there are several."""
    return tag(
        "div",
        [
            tag("div", tag("h3", run.name) if len(runs) > 1 else None, body)
            for run, body in zip(runs, bodies, strict=True)
        ],
    )


def whole_page(runs: Sequence[ReportedRun], sections: Sequence[Section]) -> str:
    script, style = (
        files(__package__).joinpath(name).read_text("utf-8") for name in ("page.js", "page.css")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Nothing is fetched from anywhere, and no script runs but this one.
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    named = [(name.lower().replace(" ", "-"), name, body) for name, body in sections]
    links = [tag("a", name, href=f"#{anchor}") for anchor, name, _ in named]
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
            [tag("section", tag("h2", name), body, id=anchor) for anchor, name, body in named],
        ),
        foot(),
        tag("script", Markup(script)),
    )
    return "<!doctype html>\n" + tag("html", tag("head", meta), tag("body", body), lang="en") + "\n"
