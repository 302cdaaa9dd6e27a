"""Which clips an objective is asked about: those that it bears, which may lack a modality of the model."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from avssl.data.record import Source
from avssl.evaluate.features import Extractor, joined
from avssl.evaluate.sides import Part, Sides, presence
from avssl.train.model import Model


def sayable(model: Model, source: Source, indices: np.ndarray) -> np.ndarray:
    """The records of which some objective can say something, as far as the source knows."""
    has = source.modalities()
    if has is None:
        return indices
    known = {name: own[indices] for name, own in zip(("video", "audio"), has, strict=True)}
    return indices[borne(model, presence(model, known))]


def borne(model: Model, batch: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
    """bool [clips]: those of which some objective has what it needs, by what a batch says is there."""
    rows = np.zeros(len(next(iter(batch["present"].values()))), bool)
    for objective in model.objectives.values():
        rows |= np.asarray(objective.both_present(batch))
    return rows


def with_incomplete(
    model: Model, extractor: Extractor, sides: Mapping[str, Sides], part: Part, workers: int
) -> dict[str, Sides]:
    """The sides whose test clips are all of the part that some objective bears; those that were there first."""
    source, indices = part
    left = np.setdiff1d(indices, next(iter(sides.values())).test.index)
    if not len(left):
        return dict(sides)
    weights = {name: own.variables for name, own in sides.items()}
    found = extractor.extract(weights, source, left, workers=workers)
    rows = borne(model, presence(model, next(iter(found.values())).present))

    def together(name: str, own: Sides) -> Sides:
        more = found[name].where(rows)
        # The numbering of classes is another one; who asks objectives takes labels from the source.
        more = dataclasses.replace(more, labels=np.full_like(more.labels, -1))
        return dataclasses.replace(own, test=joined([own.test, more], own.test.num_unreadable))

    return {name: together(name, own) for name, own in sides.items()}
