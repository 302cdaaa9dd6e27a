"""Tags: how well an objective says which classes, one or several, each test clip has."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from avssl.console import say
from avssl.data.record import class_sets
from avssl.errors import UsageError
from avssl.evaluate.sides import Score, Sides
from avssl.evaluate.two_way import finite_scores
from avssl.train.model import Model

# Of the probability from which on a clip has a tag.
THRESHOLD = 0.5


def tagging(model: Model, sides: Sides) -> list[Score]:
    """Mean average precision, and micro and macro F1 at a probability of 0.5, of the test clips' tags.

    Over the classes that some test clip has. Chance is what equal scores give: for F1 every tag on every clip.
    `OBJECTIVE/map` of every objective after the first.
    """
    scores: list[Score] = []
    for name in model.objectives:
        prefix = f"{name}/" if scores else ""
        for who, logits in sides.said(model, name, "tag_logits").items():
            found = np.asarray(logits, np.float64)
            tags, columns = true_tags(sides, found.shape[1])
            values = tag_scores(found[:, columns], tags)
            chance = tag_scores(np.zeros(tags.shape), tags)
            scores += [
                Score(who, f"{prefix}{metric}", values[metric], chance[metric], len(tags))
                for metric in values
            ]
    if not scores:
        raise UsageError(
            f"no objective of this run tags clips, as 'mutual' does: it has {', '.join(model.objectives)}"
        )
    return scores


def true_tags(sides: Sides, num_columns: int) -> tuple[Bool[np.ndarray, "n c"], list[int]]:
    """The test clips' classes that occur in them and were trained on, and which columns of logits they are."""
    source = sides.scored[0]
    sets = class_sets(source, sides.test.index)
    columns = {name: place for place, name in enumerate(sides.trained_on[0].label_names)}
    occurring = [place for place, _ in enumerate(source.label_names) if sets[:, place].any()]
    known = [
        place
        for place in occurring
        if columns.get(source.label_names[place], num_columns) < num_columns
    ]
    if not known:
        raise UsageError(f"no clip of {source.spec} has a class that this run was trained on")
    if len(known) < len(occurring):
        say(
            f"tagging: {len(occurring) - len(known)} of {len(occurring)} classes of {source.spec} were not "
            "trained on and are left out"
        )
    return sets[:, known], [columns[source.label_names[place]] for place in known]


def tag_scores(logits: Float[np.ndarray, "n c"], tags: Bool[np.ndarray, "n c"]) -> dict[str, float]:
    """Each class has a clip at least. A probability of exactly 0.5 is a tag."""
    said = expit(logits) >= THRESHOLD
    precisions = [
        average_precision(scores, own) for scores, own in zip(logits.T, tags.T, strict=True)
    ]
    right = (said & tags).sum(axis=0)
    # Twice the right ones over them, the wrong ones and the missed ones: no class is without any.
    total = said.sum(axis=0) + tags.sum(axis=0)
    return {
        "map": float(np.mean(precisions)),
        f"micro_f1_at_{THRESHOLD}": float(2 * right.sum() / total.sum()),
        f"macro_f1_at_{THRESHOLD}": float(np.mean(2 * right / total)),
    }


def average_precision(scores: Float[np.ndarray, "n"], own: Bool[np.ndarray, "n"]) -> float:
    """The sum over thresholds of precision times what each adds to recall, without interpolation.

    Clips with equal scores are one step, so that scores without any order give the share of `own`.
    """
    scores = finite_scores(scores)
    values, place = np.unique(-scores, return_inverse=True)
    right = np.bincount(place[own], minlength=len(values))
    said = np.cumsum(np.bincount(place, minlength=len(values)))
    return float((np.cumsum(right) / said * right).sum() / own.sum())
