"""Tags: how well an objective says which classes, one or several, each test clip has."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, ndtri

from avssl.console import say
from avssl.data.record import class_sets, ignored_sets
from avssl.errors import UsageError
from avssl.evaluate.intervals import intervals_of
from avssl.evaluate.ranked import (
    RankedClasses,
    Times,
    areas_under_curve,
    average_precisions,
    mean_of_known,
    share,
)
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.train.model import Model

# Of the probability from which on a clip has a tag.
THRESHOLD = 0.5


def tagging(model: Model, sides: Sides) -> list[Score]:
    """Mean average precision, mean area under the ROC curve, d', and F1 at a probability of 0.5.

    Over the classes that some test clip has; a clip in which the source ignores a class is no part of that
    one's. Chance is what equal scores give: for F1 every tag on every clip.
    `OBJECTIVE/map` of every objective after the first.
    """
    scores: list[Score] = []
    for name in model.objectives:
        prefix = f"{name}/" if scores else ""
        for who, (index, logits) in sides.said(model, name, "tag_logits").items():
            found = np.asarray(logits, np.float64)
            tags, known, columns = true_tags(sides, index, found.shape[1])
            found = found[:, columns]
            values = tag_scores(found, tags, known)
            chance = tag_scores(np.zeros(tags.shape), tags, known)
            if "roc_auc" not in values:
                say("tagging: no ROC-AUC and d', as every test clip has all of the classes")
            intervals = intervals_of(
                TagScores(found, tags, known), values, len(tags), num_elements=tags.size
            )
            scores += scores_of(who, prefix, values, chance, len(tags), intervals)
    if not scores:
        raise UsageError(
            f"no objective of this run tags clips, as 'mutual' does: it has {', '.join(model.objectives)}"
        )
    return scores


def true_tags(
    sides: Sides, index: Int[np.ndarray, "n"], num_columns: int
) -> tuple[Bool[np.ndarray, "n c"], Bool[np.ndarray, "n c"], list[int]]:
    """Of these clips of the test part: the classes that occur in them and were trained on, where each is not
    ignored, and which columns of logits they are.
    """
    source = sides.scored[0]
    sets, known = class_sets(source, index), ~ignored_sets(source, index)
    columns = {name: place for place, name in enumerate(sides.classes)}
    occurring = [
        place for place, _ in enumerate(source.label_names) if (sets & known)[:, place].any()
    ]
    trained = [
        place
        for place in occurring
        if columns.get(source.label_names[place], num_columns) < num_columns
    ]
    if not trained:
        raise UsageError(f"no clip of {source.spec} has a class that this run was trained on")
    if len(trained) < len(occurring):
        say(
            f"tagging: {len(occurring) - len(trained)} of {len(occurring)} classes of {source.spec} were not "
            "trained on and are left out"
        )
    places = [columns[source.label_names[place]] for place in trained]
    return sets[:, trained], known[:, trained], places


def tag_scores(
    logits: Float[np.ndarray, "n c"],
    tags: Bool[np.ndarray, "n c"],
    known: Bool[np.ndarray, "n c"] | None = None,
) -> dict[str, float]:
    """Each class has a clip at least. A probability of exactly 0.5 is a tag. known: None is all.

    - `map`: the mean over classes of the average precision.
    - `roc_auc`: the mean over classes of the area under the ROC curve; a class of every clip has none and is
      left out, and if each is of every clip, so are `roc_auc` and `d_prime`.
    - `d_prime`: see there.
    - `micro_f1_at_0.5`, `macro_f1_at_0.5`.
    """
    known = np.ones_like(tags) if known is None else known
    found = TagScores(logits, tags, known)(np.ones((len(tags), 1)))
    return {metric: float(of_clips) for metric, [of_clips] in found.items()}


class TagScores:
    """The same of clips that count so many times; of each class those where it is known.

    A class without clips is then no part of a mean.
    """

    def __init__(
        self,
        logits: Float[np.ndarray, "n c"],
        tags: Bool[np.ndarray, "n c"],
        known: Bool[np.ndarray, "n c"],
    ):
        self.true, self.false = tags & known, ~tags & known
        self.said = (expit(logits) >= THRESHOLD) & known
        self.ranked = RankedClasses(logits, tags, known)

    def __call__(self, times: Times) -> dict[str, Float[np.ndarray, "r"]]:
        curves = [
            (average_precisions(steps), areas_under_curve(steps))
            for steps in self.ranked.steps(times)
        ]
        precisions, areas = np.stack(curves, axis=1)
        found = {"map": mean_of_known(precisions)}
        if self.false.any():
            found["roc_auc"] = mean_of_known(areas)
            found["d_prime"] = d_prime(found["roc_auc"], least_miss(self.true, self.false) / 2)
        right, said, true = (
            kind.T.astype(times.dtype) @ times
            for kind in (self.said & self.true, self.said, self.true)
        )
        # Twice the right ones over them, the wrong ones and the missed ones: no class is without any.
        total = said + true
        return found | {
            f"micro_f1_at_{THRESHOLD}": share(2 * right.sum(axis=0), total.sum(axis=0)),
            f"macro_f1_at_{THRESHOLD}": mean_of_known(share(2 * right, total)),
        }


def d_prime(areas: Float[np.ndarray, "r"], edge: float) -> Float[np.ndarray, "r"]:
    """sqrt(2) times the normal quantile of the mean area under the ROC curve; chance is 0.

    How many standard deviations two normal distributions of scores lie apart that have this area. Of the mean
    over classes, as in AudioSet's first results (Hershey et al. 2017, arXiv 1609.09430: 0.959 is 2.452) and in
    PANNs (Kong et al. 2020, arXiv 1912.10211: 0.973 is 2.732; both as recalled), and not the mean of the
    classes' own. VATT's numbers (2021, 97.1 % beside 2.895) do not follow this formula.

    Without a single pair the wrong way round it would be infinite: areas are kept `edge` away from 0 and 1.
    """
    return math.sqrt(2) * ndtri(np.clip(areas, edge, 1 - edge))


def least_miss(true: Bool[np.ndarray, "n c"], false: Bool[np.ndarray, "n c"]) -> float:
    """By how much the mean area under the curve misses 1 if two clips tie, in the class with most pairs.

    Any mean but 1 itself misses it by as much at least.
    """
    pairs = true.sum(axis=0) * false.sum(axis=0)
    return float(1 / (2 * pairs.max() * np.count_nonzero(pairs)))
