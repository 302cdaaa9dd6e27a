"""Synchronisation: does the sound of the moment go better with the picture than that of other moments?"""

import dataclasses
from functools import partial

import numpy as np

from avssl.console import say
from avssl.errors import UsageError
from avssl.evaluate.features import Extracted
from avssl.evaluate.offsets import REACH, offset_scores
from avssl.evaluate.sides import Score, Sides
from avssl.evaluate.two_way import two_way
from avssl.objectives.base import Objective
from avssl.train.model import Model

# Between the end of the true sound and the begin of the other one, or the other way round.
GAP_SECONDS = 0.5
FURTHEST_SECONDS = 1e6


def timing(model: Model, sides: Sides, reach: int = REACH) -> list[Score]:
    """Two-way accuracy and offset accuracy of every objective that can score a picture with a sound.

    `two_way`: the other sound is of the same clip, without overlap and half a second away; chance 50 %.
    `offset_within_1`: see `offsets.py`; `reach` frames to either side. What the clips are too short for is left
    out with a word. `OBJECTIVE/two_way` of every objective after the first.
    """
    scores: list[Score] = []
    lacking: list[str] = []
    for name in model.objectives:
        if not {"video", "audio"} <= sides.test.outputs[name].keys():
            say(f"synchronization: objective '{name}' has no score between a video and a sound")
            continue
        prefix = f"{name}/" if scores else ""
        for measure in (two_way_scores, partial(offset_scores, reach=reach)):
            try:
                found = measure(model, name, sides)
            except UsageError as error:
                lacking.append(str(error))
                continue
            scores += [
                dataclasses.replace(score, metric=f"{prefix}{score.metric}") for score in found
            ]
    if lacking and not scores:
        raise UsageError("; ".join(lacking))
    for what in lacking:
        say(f"synchronization: {what}")
    return scores


def two_way_scores(model: Model, name: str, sides: Sides) -> list[Score]:
    objective = model.objectives[name]
    other = shifted(model, objective, sides)
    true, moved = same_clips(sides.test, other)
    if not len(true.index):
        raise UsageError(
            f"no clip of {sides.scored[0].spec} is long enough for a second sound of "
            f"{model.views[objective.audio_view].seconds:g} s that does not overlap the first"
        )
    video = true.of(name)["video"]
    likeness = [
        sides.row_similarity(model, name, video, part.of(name)["audio"]) for part in (true, moved)
    ]
    return [Score.of_clips("joint", "two_way", two_way(*likeness), 0.5)]


def shifted(model: Model, objective: Objective, sides: Sides) -> Extracted:
    """The same pass with the sound of another moment in place of the true one."""
    view = model.views[objective.audio_view]
    away = (view.seconds + GAP_SECONDS, FURTHEST_SECONDS)
    moved = dataclasses.replace(view, shift_seconds=away)
    other = dataclasses.replace(model, views={**model.views, objective.audio_view: moved})
    extractor = sides.extractor(f"another moment of {objective.audio_view}", other)
    extracted = extractor.extract({"": sides.variables}, *sides.scored, workers=sides.workers)[""]
    return extracted.where(np.logical_and.reduce(list(extracted.present.values())))


def same_clips(first: Extracted, second: Extracted) -> tuple[Extracted, Extracted]:
    """The clips that both hold, in one order."""
    _, ours, theirs = np.intersect1d(first.index, second.index, return_indices=True)
    return first.where(ours), second.where(theirs)
