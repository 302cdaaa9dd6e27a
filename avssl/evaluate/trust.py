"""Verification of pairs: do the scores of a run tell its faulty training pairs from the sound ones?"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from avssl.console import say
from avssl.data.record import truth_of
from avssl.data.truth import faults
from avssl.errors import UsageError
from avssl.evaluate.intervals import intervals_of
from avssl.evaluate.ranked import Ranked, Times, areas_under_curve
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.evaluate.two_way import area_under_curve
from avssl.train.model import Model

CHANCE = 0.5
METRIC = "fault_auc"
# What weights of pairs come from where there is such, and else what is trained.
COMPARED = (("video_target", "audio_target"), ("video", "audio"))


def trust(model: Model, sides: Sides) -> list[Score]:
    """Area under the ROC curve of "faulty" by the dissimilarity of picture and sound; chance 50 %.

    On the data that the run was trained on, whose truth must say which pairs are faulty (world:faulty).
    `fault_auc_KIND` is of one kind of fault against the sound pairs. Under `music` the object is heard as well:
    such a pair agrees still, and tells how far a score looks for more than that.

    Averaged networks score where the objective has them: their agreement is what Robust-xID's weights grow
    with, in training that of the crops and windows it draws, here of the centre ones.
    """
    source, indices = sides.trained_on
    known = {index: faults(truth_of(source, index)) for index in indices.tolist()}
    if len(set(map(bool, known.values()))) < 2:
        raise UsageError(f"no pairs of {source.spec} are known to be faulty, as in world:faulty")
    extractor = sides.extractor("features", model)
    found = extractor.extract({"": sides.variables}, source, indices, sides.workers)[""]
    found = found.where(np.logical_and.reduce(list(found.present.values())))
    said = [known[index] for index in found.index.tolist()]
    scores = []
    for name in model.objectives:
        pair = compared(found.of(name))
        if pair is None:
            say(f"verification: objective '{name}' has no score between a video and a sound")
            continue
        likeness = sides.row_similarity(model, name, *pair)
        prefix = f"{name}/" if scores else ""
        for kind in ("", *dict.fromkeys(kind for own in said for kind in own)):
            faulty, kept = of_kind(said, kind)
            scores += fault_scores(prefix, kind, -likeness[kept], faulty[kept])
    return scores


def compared(outputs: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The embeddings of picture and sound whose likeness is the score."""
    return next(((outputs[v], outputs[a]) for v, a in COMPARED if {v, a} <= outputs.keys()), None)


def of_kind(
    said: list[tuple[str, ...]], kind: str
) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Which clips have that fault (empty: any), and which have it or none."""
    faulty = np.array([kind in own if kind else bool(own) for own in said])
    return faulty, faulty | np.array([not own for own in said])


def fault_scores(
    prefix: str, kind: str, unlike: Float[np.ndarray, "n"], faulty: Bool[np.ndarray, "n"]
) -> list[Score]:
    metric = f"{METRIC}_{kind}" if kind else METRIC
    values = {metric: area_under_curve(unlike, faulty)}
    areas = partial(fault_areas, metric, Ranked(unlike, faulty))
    intervals = intervals_of(areas, values, len(faulty))
    return scores_of("joint", prefix, values, {metric: CHANCE}, len(faulty), intervals)


def fault_areas(metric: str, ranked: Ranked, times: Times) -> dict[str, np.ndarray]:
    return {metric: areas_under_curve(ranked.steps(times))}
