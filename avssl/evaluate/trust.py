"""Verification of pairs: do the scores of a run tell its faulty training pairs from the sound ones?"""

from functools import partial

import numpy as np

from avssl.console import say
from avssl.data.record import truth_of
from avssl.data.truth import is_faulty
from avssl.errors import UsageError
from avssl.evaluate.intervals import intervals_of
from avssl.evaluate.ranked import Ranked, Times, areas_under_curve
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.evaluate.two_way import area_under_curve
from avssl.train.model import Model

CHANCE = {"fault_auc": 0.5}


def trust(model: Model, sides: Sides) -> list[Score]:
    """Area under the ROC curve of "faulty" by the dissimilarity of picture and sound; chance 50 %.

    On the data that the run was trained on, whose truth must say which pairs are faulty (world:faulty).
    Robust-xID's weights are an increasing function of this similarity.
    """
    source, indices = sides.trained_on
    faulty = np.array([is_faulty(truth_of(source, index)) for index in indices.tolist()])
    if not faulty.any() or faulty.all():
        raise UsageError(f"no pairs of {source.spec} are known to be faulty, as in world:faulty")
    extractor = sides.extractor("features", model)
    found = extractor.extract({"": sides.variables}, source, indices, sides.workers)[""]
    found = found.where(np.logical_and.reduce(list(found.present.values())))
    flags = dict(zip(indices.tolist(), faulty.tolist(), strict=True))
    positive = np.array([flags[index] for index in found.index.tolist()])
    scores = []
    for name in model.objectives:
        outputs = found.of(name)
        if not {"video", "audio"} <= outputs.keys():
            say(f"verification: objective '{name}' has no score between a video and a sound")
            continue
        likeness = sides.row_similarity(model, name, outputs["video"], outputs["audio"])
        prefix = f"{name}/" if scores else ""
        values = {"fault_auc": area_under_curve(-likeness, positive)}
        ranked = Ranked(-likeness, positive)
        intervals = intervals_of(partial(fault_areas, ranked), values, len(positive))
        scores += scores_of("joint", prefix, values, CHANCE, len(positive), intervals)
    return scores


def fault_areas(ranked: Ranked, times: Times) -> dict[str, np.ndarray]:
    return {"fault_auc": areas_under_curve(ranked.steps(times))}
