"""What is measured on frozen features: each protocol takes both parts' features and gives scores."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from avssl.console import say
from avssl.evaluate.classified import classified
from avssl.evaluate.clusters import clusters
from avssl.evaluate.features import probed
from avssl.evaluate.few_shot import SHOTS, few_shot_top1
from avssl.evaluate.finds import finds
from avssl.evaluate.identity import identity
from avssl.evaluate.knn import knn_top1
from avssl.evaluate.linear import linear_probe
from avssl.evaluate.neighbours import neighbours
from avssl.evaluate.places import places
from avssl.evaluate.retrieval import retrieval, retrieval_chance
from avssl.evaluate.sides import Score, Sides
from avssl.evaluate.tagging import tagging
from avssl.evaluate.timing import timing
from avssl.evaluate.trust import trust
from avssl.evaluate.viewpoints import viewpoints
from avssl.train.model import Model


def knn(model: Model, sides: Sides) -> list[Score]:
    return probes(sides, knn_top1)


def linear(model: Model, sides: Sides) -> list[Score]:
    return probes(sides, lambda *arrays: linear_probe(*arrays).top1)


def few_shot(model: Model, sides: Sides) -> list[Score]:
    """`top1_of_5`: with five labelled clips of each class."""
    return [
        dataclasses.replace(score, metric=f"top1_of_{shots}")
        for shots in SHOTS
        for score in probes(sides, partial(few_shot_top1, shots=shots))
    ]


def probes(sides: Sides, top1: Callable[..., float]) -> list[Score]:
    """A probe's top-1 on each kind of features; chance is a guess among the classes of the training part.

    Clips without a label are no part of it.
    """
    train, test = (part.where(part.labels >= 0) for part in (sides.train, sides.test))
    fitted, scored = probed(train), probed(test)
    chance = 1 / max(len(np.unique(train.labels)), 1)
    return [
        Score(
            name,
            "top1",
            top1(fitted[name], train.labels, scored[name], test.labels),
            chance,
            len(test.labels),
        )
        for name in fitted
    ]


def across_modalities(model: Model, sides: Sides) -> list[Score]:
    """Each test clip's sound among the videos of all test clips, and the other way round.

    R@1, 5, 10 and 20, the median rank and, of labelled clips, how often the first has the class. With several
    objectives the first that can rank gives `r1` ..., the others `NAME/r1` ...
    """
    scores = []
    for name in model.objectives:
        outputs = sides.test.outputs[name]
        if not {"video", "audio"} <= outputs.keys():
            say(f"retrieval: objective '{name}' has no score between a video and a sound")
            continue
        parameters = sides.variables["params"]["objectives"][name]
        labels = sides.test.labels if np.all(sides.test.labels >= 0) else None
        prefix = f"{name}/" if scores else ""
        for query, gallery in (("video", "audio"), ("audio", "video")):
            rank = partial(directed, model, name, query == "audio")
            found = retrieval(
                outputs[query],
                outputs[gallery],
                index=sides.test.index,
                labels=labels,
                similarity=jax.tree_util.Partial(rank, parameters),
            )
            chance = retrieval_chance(sides.test.index, labels)
            scores += [
                Score(
                    features=f"{query}->{gallery}",
                    metric=f"{prefix}{metric}",
                    value=found[metric],
                    chance=chance[metric],
                    n=len(sides.test.index),
                )
                for metric in found
            ]
    return scores


def directed(
    model: Model, name: str, transpose: bool, parameters: Any, queries: Any, gallery: Any
) -> Any:
    """The objective's score between queries and gallery, whichever of them is the video."""
    pair = (gallery, queries) if transpose else (queries, gallery)
    scores = model.compare(parameters, name, "similarity", *pair)
    return scores.T if transpose else scores


PROTOCOLS: dict[str, Callable[[Model, Sides], list[Score]]] = {
    "classification": classified,
    "clustering": clusters,
    "detection": finds,
    "few_shot": few_shot,
    "identity": identity,
    "knn": knn,
    "linear": linear,
    "localization": places,
    "neighbours": neighbours,
    "retrieval": across_modalities,
    "spatial": viewpoints,
    "synchronization": timing,
    "tagging": tagging,
    "verification": trust,
}
# What needs classes.
PROBES = ("classification", "clustering", "few_shot", "knn", "linear", "neighbours")
