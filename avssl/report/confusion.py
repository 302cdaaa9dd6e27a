"""Which class is taken for which, by a kNN probe on the test part."""

from collections.abc import Sequence

import numpy as np

from avssl.evaluate.knn import knn_predictions
from avssl.evaluate.protocols import check_classes
from avssl.report.evidence import Evidence
from avssl.report.markup import Markup, note, scrolled, tag

# Of more classes a matrix is no picture any more: then the commonest confusions are listed.
MOST_CLASSES = 40
MOST_PAIRS = 25


def confusion(evidence: Evidence) -> Markup:
    """A matrix for each modality. UsageError where the data have no classes."""
    sides, parts = evidence.sides, evidence.parts
    check_classes(*((part.source, part.used) for part in parts))
    train, test = (side.where(side.labels >= 0) for side in (sides.train, sides.test))
    drawn = []
    for modality in evidence.embeddings:
        features = test.embeddings[modality]
        guessed = knn_predictions(train.embeddings[modality], train.labels, features)
        counts, classes = counted(test.labels, guessed)
        right = float((guessed == test.labels).mean())
        said = (
            f"{modality}, by the vote of the nearest training clips (kNN): {100 * right:.1f} % of "
            f"{len(guessed):,} clips right"
        )
        names = [evidence.class_of(label) for label in classes]
        shown = matrix(counts, names) if len(classes) <= MOST_CLASSES else pairs(counts, names)
        drawn.append(tag("div", note(said), scrolled(shown)))
    return tag("div", drawn, class_="confusions")


def counted(labels: np.ndarray, guessed: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """([true, guessed] counts, the classes of rows and columns)."""
    classes = np.union1d(labels, guessed)
    places = np.searchsorted(classes, labels), np.searchsorted(classes, guessed)
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, places, 1)
    return counts, classes.tolist()


def matrix(counts: np.ndarray, names: Sequence[str]) -> Markup:
    """True classes in rows, what they were taken for in columns; last the share of each that is right."""
    header = tag(
        "tr", tag("th", "true ↓  taken for →", class_="corner"),
        [tag("th", tag("span", name), scope="col", class_="tilted") for name in names],
        tag("th", "right", class_="number"),
    )  # fmt: skip
    body = []
    for place, name in enumerate(names):
        total = int(counts[place].sum())
        cells = [
            tag(
                "td", count or "", class_="cell right" if other == place else "cell wrong",
                style=f"--share:{count / total:.3f}" if count else None,
                title=f"{count} of {total} {name} taken for {names[other]}" if count else None,
            )
            for other, count in enumerate(counts[place].tolist())
        ]  # fmt: skip
        share = f"{100 * counts[place, place] / total:.0f} %" if total else "–"
        row = tag("th", name, scope="row"), cells, tag("td", share, class_="number")
        body.append(tag("tr", row))
    return tag("table", tag("thead", header), tag("tbody", body), class_="confusion")


def pairs(counts: np.ndarray, names: Sequence[str]) -> Markup:
    """The commonest confusions."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    lines = []
    for true, other in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[true, other]:
            of = f"{wrong[true, other]} of {counts[true].sum()}"
            words = tag("td", names[true]), tag("td", names[other])
            lines.append(tag("tr", words, tag("td", of, class_="number")))
    header = tag("tr", [tag("th", name) for name in ("true", "taken for", "clips")])
    return tag("table", tag("thead", header), tag("tbody", lines))
