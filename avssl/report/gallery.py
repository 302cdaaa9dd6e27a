"""The gallery: queries of the test part and their nearest clips, to be looked at and listened to."""

from collections.abc import Mapping, Sequence

import numpy as np

from avssl.errors import UsageError
from avssl.report.clips import ShownClip, shown_clips
from avssl.report.evidence import Evidence, spread_over_classes
from avssl.report.likeness import Direction, directions
from avssl.report.markup import Markup, data_script, note, tag
from avssl.report.tiles import Sounds, tile

MOST_QUERIES = 12
NEIGHBOURS = 6


def gallery(evidence: Evidence, budget: int) -> Markup:
    """At most `budget` bytes: fewer queries where the clips are large. UsageError if not one fits."""
    test = evidence.sides.test
    if len(test.index) < 2:
        raise UsageError("a gallery needs at least two clips in the test part")
    queries = spread_over_classes(test.labels, evidence.seed)[:MOST_QUERIES]
    ways = directions(evidence, queries, NEIGHBOURS)
    rows = np.unique(np.concatenate([np.asarray(queries), *(way.rows.ravel() for way in ways)]))
    clips = shown_clips(
        evidence.sides.scored[0], evidence.extractor, test.index[rows], evidence.sides.workers
    )
    for num_queries in range(len(queries), 0, -1):
        drawn = panels(evidence, queries[:num_queries], ways, clips)
        if len(drawn.encode()) <= budget:
            return drawn
    raise UsageError(
        f"the page may not grow beyond its limit, and {budget:,} bytes hold no query; report fewer runs"
    )


def panels(
    evidence: Evidence,
    queries: Sequence[int],
    ways: Sequence[Direction],
    clips: Mapping[int, ShownClip],
) -> Markup:
    """A tab for each direction, and the sounds of all of them, each once."""
    sounds: Sounds = {}
    tabs, bodies = [], []
    for place, way in enumerate(ways):
        name = f"{way.query} → {way.gallery}"
        tabs.append(
            tag(
                "button",
                name,
                type="button",
                role="tab",
                aria_selected="false" if place else "true",
            )
        )
        body = [
            query_line(evidence, way, number, row, clips, sounds)
            for number, row in enumerate(queries)
        ]
        said = note(summary(evidence, way, queries))
        bodies.append(tag("div", said, body, class_="panel", role="tabpanel", hidden=bool(place)))
    return tag(
        "div", tag("div", tabs, role="tablist"), bodies, data_script(sounds, class_="sounds"),
        class_="tabs gallery",
    )  # fmt: skip


def summary(evidence: Evidence, way: Direction, queries: Sequence[int]) -> str:
    """What the marks of this tab add up to."""
    total = len(evidence.sides.test.index)
    text = f"Nearest of {total:,} clips by {way.measure}"
    labels = evidence.sides.test.labels
    shown = way.rows[: len(queries)]
    known = (labels[list(queries)] >= 0)[:, None] & (labels[shown] >= 0)
    if known.any():
        right = (labels[shown] == labels[list(queries)][:, None]) & known
        text += f": {int(right.sum())} of the {int(known.sum())} shown are of the query's class"
    if way.own_ranks is not None:
        first = int((way.own_ranks[: len(queries)] == 1).sum())
        text += f"; the query's own clip comes first for {first} of {len(queries)}"
    return text


def query_line(
    evidence: Evidence,
    way: Direction,
    number: int,
    row: int,
    clips: Mapping[int, ShownClip],
    sounds: Sounds,
) -> Markup:
    """The query, then its neighbours."""
    rank = None
    if way.own_ranks is not None:
        rank = f"own: rank {int(way.own_ranks[number]):,}"
    index = evidence.sides.test.index
    query = tile(evidence, row, clips.get(int(index[row])), sounds, mark="query", below=rank)
    found = [
        tile(
            evidence, int(other), clips.get(int(index[other])), sounds,
            mark=mark_of(evidence, row, int(other)), below=f"{score:.2f}".replace("-", "−"),
        )
        for other, score in zip(way.rows[number], way.scores[number], strict=True)
    ]  # fmt: skip
    return tag("div", query, tag("div", found, class_="found"), class_="line")


def mark_of(evidence: Evidence, query: int, other: int) -> str:
    labels = evidence.sides.test.labels
    if query == other:
        return "own"
    if labels[query] < 0 or labels[other] < 0:
        return "unknown"
    return "right" if labels[query] == labels[other] else "wrong"
