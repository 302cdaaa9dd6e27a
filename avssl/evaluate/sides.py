"""What a protocol gets, and what it gives."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax import Array

from avssl.data.record import Source
from avssl.evaluate.features import Extracted
from avssl.train.model import Model

# Some records of a source.
Part = tuple[Source, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Sides:
    """One set of weights and the features they give on the training and on the test part.

    `scored` is the test part itself, and `trained_on` what the run was trained on, for protocols that look at
    more of it than its features.
    """

    variables: Any
    train: Extracted
    test: Extracted
    scored: Part
    trained_on: Part
    workers: int

    def row_similarity(self, model: Model, name: str, video: Array, audio: Array) -> np.ndarray:
        """An objective's score of the picture and the sound of each row."""
        parameters = self.variables["params"]["objectives"][name]
        compare = jax.jit(model.compare, static_argnums=(1, 2))
        return np.asarray(compare(parameters, name, "row_similarity", video, audio))


@dataclasses.dataclass(frozen=True)
class Score:
    """One number of one set of weights."""

    features: str
    metric: str
    value: float
    chance: float
    n: int  # clips that were scored
