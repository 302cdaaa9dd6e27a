"""What is measured on frozen features: each protocol takes both parts' features and gives scores."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from avssl.console import say
from avssl.errors import UsageError
from avssl.evaluate.classified import classified
from avssl.evaluate.clusters import clusters
from avssl.evaluate.features import probed
from avssl.evaluate.few_shot import SHOTS, few_shot_hits
from avssl.evaluate.finds import finds
from avssl.evaluate.identity import identity
from avssl.evaluate.intervals import interval_of_median
from avssl.evaluate.knn import knn_hits
from avssl.evaluate.linear import linear_probe
from avssl.evaluate.linear_tags import linear_tags
from avssl.evaluate.neighbours import neighbours
from avssl.evaluate.places import places
from avssl.evaluate.retrieval import CUTOFFS, Ranking, ranked, retrieval_chance
from avssl.evaluate.sides import Part, Score, Sides
from avssl.evaluate.tagging import tagging
from avssl.evaluate.timing import timing
from avssl.evaluate.trust import trust
from avssl.evaluate.viewpoints import viewpoints
from avssl.evaluate.zero_shot import zero_shot
from avssl.train.model import Model


def knn(model: Model, sides: Sides) -> list[Score]:
    return probes(sides, "top1", knn_hits)


def linear(model: Model, sides: Sides) -> list[Score]:
    return probes(sides, "top1", linear_hits)


def few_shot(model: Model, sides: Sides) -> list[Score]:
    """`top1_of_5`: with five labelled clips of each class."""
    return [
        score
        for shots in SHOTS
        for score in probes(sides, f"top1_of_{shots}", partial(few_shot_hits, shots=shots))
    ]


def linear_hits(train: Any, train_labels: Any, test: Any, test_labels: Any) -> np.ndarray:
    return linear_probe(train, train_labels, test, test_labels).predictions == test_labels


def probes(sides: Sides, metric: str, hits: Callable[..., np.ndarray]) -> list[Score]:
    """A probe's top-1 on each kind of features; chance is a guess among the classes of the training part.

    hits: how rightly each test clip is named, from the features and labels of both parts. Clips without a
    label are no part of it.
    """
    train, test = (part.where(part.labels >= 0) for part in (sides.train, sides.test))
    fitted, scored = probed(train), probed(test)
    chance = 1 / max(len(np.unique(train.labels)), 1)
    return [
        Score.of_clips(
            name, metric, hits(fitted[name], train.labels, scored[name], test.labels), chance
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
            ranking = ranked(
                outputs[query],
                outputs[gallery],
                index=sides.test.index,
                labels=labels,
                similarity=jax.tree_util.Partial(rank, parameters),
            )
            chance = retrieval_chance(sides.test.index, labels)
            scores += ranking_scores(f"{query}->{gallery}", prefix, ranking, chance)
    return scores


def ranking_scores(
    features: str, prefix: str, ranking: Ranking, chance: Mapping[str, float]
) -> list[Score]:
    ranks = ranking.ranks
    scores = [
        Score.of_clips(features, f"{prefix}r{k}", ranks <= k, chance[f"r{k}"]) for k in CUTOFFS
    ]
    scores.append(
        Score(
            features, f"{prefix}median_rank", float(np.median(ranks)), chance["median_rank"], len(ranks),
            interval_of_median(ranks),
        )
    )  # fmt: skip
    if ranking.same_class is not None:
        scores.append(
            Score.of_clips(features, f"{prefix}class_p1", ranking.same_class, chance["class_p1"])
        )
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
    "linear_tags": linear_tags,
    "localization": places,
    "neighbours": neighbours,
    "retrieval": across_modalities,
    "spatial": viewpoints,
    "synchronization": timing,
    "tagging": tagging,
    "verification": trust,
    "zero_shot": zero_shot,
}
# What is trained on the training part.
FITTED = ("few_shot", "knn", "linear", "linear_tags")
# What needs classes.
PROBES = ("classification", "clustering", "few_shot", "knn", "linear", "neighbours")


def allowed(protocols: Sequence[str], train: Part, test: Part, asked_for: bool) -> list[str]:
    """The protocols that the labels allow, which is known before anything is decoded."""
    probes = [name for name in protocols if name in PROBES]
    try:
        if probes:
            check_classes(train if set(FITTED) & set(probes) else None, test)
    except UsageError as error:
        if asked_for:
            raise
        say(f"left out: {', '.join(probes)}, as {error}")
        return [name for name in protocols if name not in probes]
    return list(protocols)


def check_classes(train: Part | None, test: Part) -> None:
    """Refuses, before any clip is decoded, what no probe could be trained, if one is, or scored on."""
    for part, purpose in ((train, "trained"), (test, "scored")):
        if part is None:
            continue
        source, indices = part
        labels = source.labels()[indices]
        if (num_classes := len(np.unique(labels[labels >= 0]))) < 2:
            raise UsageError(
                f"a probe cannot be {purpose} on {source.spec}, whose clips have "
                f"{'one class' if num_classes else 'no classes'} where two belong at least: sort its videos "
                "into a folder per class, or list them with labels in a manifest"
            )
