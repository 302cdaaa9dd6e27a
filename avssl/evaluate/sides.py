"""What a protocol gets, and what it gives."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from avssl.data.record import Source
from avssl.evaluate.features import Extracted, Extractor
from avssl.evaluate.intervals import Interval, interval_of_mean
from avssl.train.model import Model

# Some records of a source.
Part = tuple[Source, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Sides:
    """One set of weights and the features they give on the training and on the test part.

    `scored` is the test part itself, `fitted` the training part of probes (without any, `train` is empty), and
    `trained_on` what the run was trained on, for protocols that look at more of it than its features.
    `averaged`: what objectives say of several windows of each test clip (`windows.Averaged`), where that is
    asked for. `compiled`: what is kept for the next weights, by its use. `with_intervals`: False where nobody
    reads them, for protocols with dear ones. `known_classes`: those that the weights know, in order; without,
    they are those of `trained_on`.
    """

    variables: Any
    train: Extracted
    test: Extracted
    scored: Part
    trained_on: Part
    workers: int
    averaged: Any = None
    fitted: Part | None = None
    compiled: dict[str, Any] = dataclasses.field(default_factory=dict)
    with_intervals: bool = True
    known_classes: Sequence[str] | None = None

    @property
    def classes(self) -> Sequence[str]:
        """What the columns of logits are."""
        return self.known_classes or self.trained_on[0].label_names

    def extractor(self, use: str, model: Model) -> Extractor:
        """That of a model, which is the same whenever it has this use."""
        if use not in self.compiled:
            self.compiled[use] = Extractor(model)
        return self.compiled[use]

    def said(
        self, model: Model, name: str, kind: str
    ) -> dict[str, tuple[Int[np.ndarray, "k"], Float[np.ndarray, "k c"]]]:
        """An objective's `label_logits` or `tag_logits`, by who says it: (of which records, what).

        Of the test clips that have what it looks at.
        """
        objective = model.objectives[name]
        if self.averaged is None:
            batch = presence(model, self.test.present)
            answers = getattr(objective, kind)(self.test.of(name))
        else:
            batch, answers = self.averaged.batch, self.averaged.said.get(name, {}).get(kind, {})
        found = {}
        for who, logits in answers.items():
            rows = np.asarray(objective.can_say(batch, who))
            found[who] = self.test.index[rows], np.asarray(logits)[rows]
        return found

    def row_similarity(self, model: Model, name: str, video: Array, audio: Array) -> np.ndarray:
        """An objective's score of the picture and the sound of each row."""
        parameters = self.variables["params"]["objectives"][name]
        if "compare" not in self.compiled:
            self.compiled["compare"] = jax.jit(model.compare, static_argnums=(1, 2))
        compare = self.compiled["compare"]
        return np.asarray(compare(parameters, name, "row_similarity", video, audio))


def presence(model: Model, present: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What a batch says of the views that are there, by which modalities are."""
    modalities = {read.view: model.views[read.view].modality for read in model.reads}
    return {"present": {view: present[modality] for view, modality in modalities.items()}}


@dataclasses.dataclass(frozen=True)
class Score:
    """One number of one set of weights. `interval`: see `intervals.py`; None where it is not known.

    `of_weights`: False where another network gives it, which random weights of the run do not change.
    """

    features: str
    metric: str
    value: float
    chance: float
    n: int  # clips that were scored
    interval: Interval | None = None
    of_weights: bool = True

    @classmethod
    def of_clips(cls, features: str, metric: str, scores: np.ndarray, chance: float) -> "Score":
        """The mean of a number, or of right and wrong, of each clip."""
        value = float(np.mean(scores))
        return cls(features, metric, value, chance, len(scores), interval_of_mean(scores))


def scores_of(
    features: str,
    prefix: str,
    values: Mapping[str, float],
    chance: Mapping[str, float],
    n: int,
    intervals: Mapping[str, Interval],
) -> list[Score]:
    """Of several numbers by metric; `prefix` comes before the names."""
    return [
        Score(features, f"{prefix}{metric}", value, chance[metric], n, intervals.get(metric))
        for metric, value in values.items()
    ]


def classes_by_name(
    labels: np.ndarray, names: Sequence[str], reference: Sequence[str]
) -> np.ndarray:
    """Labels in the numbering of another source: two folders opened apart number their own classes.

    A class that the other source lacks gets a number of its own, which no probe can predict.
    """
    if not names or not reference or tuple(names) == tuple(reference):
        return labels
    numbers = {name: number for number, name in enumerate(reference)}
    table = np.array([numbers.setdefault(name, len(numbers)) for name in names])
    return np.where(labels >= 0, table[labels], -1).astype(labels.dtype)
