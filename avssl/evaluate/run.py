"""`avssl evaluate`: every protocol on a run's encoders, beside the same encoders at random initialisation.

Probes train on the first source and are scored on the second. Without a second one, a stated part of the first
is held out, by a hash of the keys: the run may have trained on it, and the line that is printed says so.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from avssl.config import from_json, say
from avssl.data.holdout import split_holdout
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline, usable_indices
from avssl.data.record import Source
from avssl.errors import UsageError, unknown
from avssl.evaluate.baseline import NUM_BATCHES, random_variables
from avssl.evaluate.features import Extracted, Extractor
from avssl.evaluate.knn import knn_top1
from avssl.evaluate.linear import linear_probe
from avssl.evaluate.retrieval import retrieval, retrieval_chance
from avssl.evaluate.rows import Row, print_table, write_json
from avssl.train.checkpoint_reader import CheckpointReader
from avssl.objectives.base import Objective
from avssl.train.model import Model, build_model

HELD_OUT_FRACTION = 0.2
PROBED = ("video", "audio", "joint")


@dataclasses.dataclass(frozen=True)
class Sides:
    """One set of weights and the features they give on the training and on the test part."""

    variables: Any
    train: Extracted
    test: Extracted


@dataclasses.dataclass(frozen=True)
class Score:
    """One number of one set of weights."""

    features: str
    metric: str
    value: float
    chance: float


def evaluate_folder(
    workdir: Path,
    *,
    data: str = "",
    test_data: str = "",
    protocols: Sequence[str] = (),
    json_file: Path | None = None,
) -> list[Row]:
    """Evaluates the newest checkpoint of a run folder; prints the table and writes `eval.json`."""
    config = run_config(workdir)
    chosen = tuple(protocols) or tuple(config.eval.protocols)
    for name in chosen:
        if name not in PROTOCOLS:
            raise unknown("protocol", name, PROTOCOLS)
    train, test = sources(config, data, test_data)
    model = build_model(config)
    step, variables = trained_variables(workdir, model)
    extractor = Extractor(model)
    trained = both_sides(extractor, variables, train, test)
    random = both_sides(extractor, baseline(config, model), train, test)
    num_clips = len(trained.test.index)
    say(f"evaluated step {step} of {workdir} on {num_clips} clips of {test[0].spec}")
    rows = [
        Row(name, ours.features, ours.metric, ours.value, theirs.value, ours.chance, num_clips)
        for name in chosen
        for ours, theirs in zip(
            PROTOCOLS[name](model, trained), PROTOCOLS[name](model, random), strict=True
        )
    ]
    print_table(rows)
    write_json(workdir / "eval.json", rows)
    if json_file is not None:
        write_json(json_file, rows)
    return rows


def run_config(workdir: Path) -> ConfigDict:
    file = workdir / "config.json"
    if not file.is_file():
        raise UsageError(
            f"{workdir} is no run folder: it has no config.json; see `avssl pretrain --help`"
        )
    return from_json(json.loads(file.read_text(encoding="utf-8")))


def trained_variables(workdir: Path, model: Model) -> tuple[int, Any]:
    """The newest sound checkpoint's parameters and running statistics."""
    reader = CheckpointReader(workdir / "checkpoints")
    step = reader.latest()
    if step is None:
        raise UsageError(f"{workdir} has no checkpoint yet: train it with `avssl pretrain` first")
    abstract = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    items = {name: abstract[name] for name in ("params", "batch_stats")}
    return step, reader.restore(step, items)


Part = tuple[Source, np.ndarray]


def sources(config: ConfigDict, data: str, test_data: str) -> tuple[Part, Part]:
    """The records probes train on and those they are scored on."""
    data = data or config.eval.data or config.data.source
    test_data = test_data or ("" if data != config.eval.data else config.eval.test_data)
    train = open_source(data)
    if test_data:
        test = open_source(test_data)
        return (train, np.arange(len(train))), (test, np.arange(len(test)))
    fraction = config.data.holdout_fraction or HELD_OUT_FRACTION
    kept, held_out = split_holdout(train, fraction)
    seen = (
        "kept out of training" if config.data.holdout_fraction else "which training may have seen"
    )
    say(f"no test data given: scored on {len(held_out)} of {len(train)} records of {data}, {seen}")
    return (train, kept), (train, held_out)


def both_sides(extractor: Extractor, variables: Any, train: Part, test: Part) -> Sides:
    fitted, scored = (one_side(extractor, variables, *part) for part in (train, test))
    labels = classes_by_name(scored.labels, test[0].label_names, train[0].label_names)
    return Sides(variables, fitted, dataclasses.replace(scored, labels=labels))


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


def one_side(
    extractor: Extractor, variables: Any, source: Source, indices: np.ndarray
) -> Extracted:
    needed = {view.modality for view in extractor.model.views.values()}
    usable, num_left_out = usable_indices(source, needed, indices)
    if num_left_out:
        say(f"{source.spec}: {num_left_out} clips lack a modality and are left out")
    extracted = extractor.extract(variables, source, usable)
    whole = np.logical_and.reduce(list(extracted.present.values()))
    if extracted.num_unreadable or not whole.all():
        say(
            f"{source.spec}: {extracted.num_unreadable} clips could not be read, "
            f"{int((~whole).sum())} lack a modality; {int(whole.sum())} are scored"
        )
    return extracted.where(whole)


def baseline(config: ConfigDict, model: Model) -> Any:
    """Random parameters of the run's seed; statistics from the run's own training batches."""
    source = open_source(config.data.source)
    needed = {view.modality for view in model.views.values()}
    kept, _ = split_holdout(source, config.data.holdout_fraction)
    usable, _ = usable_indices(source, needed, kept)
    pipeline = Pipeline(
        source, dict(model.views), batch_size=config.batch_size, seed=config.seed, indices=usable
    )
    batches = pipeline.batches(0)
    try:
        return random_variables(model, config.seed, itertools.islice(batches, NUM_BATCHES))
    finally:
        batches.close()


def probed(extracted: Extracted) -> dict[str, np.ndarray]:
    """Features by name; joint ones are both, each scaled to unit length so that neither drowns the other."""
    kinds = dict(extracted.embeddings)
    if {"video", "audio"} <= kinds.keys():
        unit = [
            array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)
            for array in (kinds["video"], kinds["audio"])
        ]
        kinds["joint"] = np.concatenate(unit, axis=1)
    return {name: kinds[name] for name in PROBED if name in kinds}


def knn(model: Model, sides: Sides) -> list[Score]:
    return probes(sides, knn_top1)


def linear(model: Model, sides: Sides) -> list[Score]:
    return probes(sides, lambda *arrays: linear_probe(*arrays).top1)


def probes(sides: Sides, top1: Callable[..., float]) -> list[Score]:
    """A probe's top-1 on each kind of features; chance is a guess among the classes of the training part."""
    train, test = probed(sides.train), probed(sides.test)
    num_classes = max(len(np.unique(sides.train.labels[sides.train.labels >= 0])), 1)
    return [
        Score(
            name,
            "top1",
            top1(train[name], sides.train.labels, test[name], sides.test.labels),
            1 / num_classes,
        )
        for name in train
    ]


def across_modalities(model: Model, sides: Sides) -> list[Score]:
    """Each test clip's sound among the videos of all test clips, and the other way round.

    With several objectives the first that can rank gives `r1` and `class_p1`, the others `NAME/r1` ...
    """
    scores = []
    for name, objective in model.objectives.items():
        outputs = sides.test.outputs[name]
        if not {"video", "audio"} <= outputs.keys():
            say(f"retrieval: objective '{name}' has no score between a video and a sound")
            continue
        parameters = sides.variables["params"]["objectives"][name]
        labels = sides.test.labels if np.all(sides.test.labels >= 0) else None
        prefix = f"{name}/" if scores else ""
        for query, gallery in (("video", "audio"), ("audio", "video")):
            rank = partial(directed, objective, query == "audio")
            found = retrieval(
                outputs[query],
                outputs[gallery],
                index=sides.test.index,
                labels=labels,
                similarity=jax.tree_util.Partial(rank, parameters),
            )
            chance = retrieval_chance(sides.test.index, labels)
            scores += [
                Score(f"{query}->{gallery}", f"{prefix}{metric}", found[metric], chance[metric])
                for metric in ("r1", "class_p1")
                if metric in found
            ]
    return scores


def directed(
    objective: Objective, transpose: bool, parameters: Any, queries: Any, gallery: Any
) -> Any:
    """The objective's score between queries and gallery, whichever of them is the video."""
    pair = (gallery, queries) if transpose else (queries, gallery)
    scores = objective.apply({"params": parameters}, *pair, method="similarity")
    return scores.T if transpose else scores


PROTOCOLS: dict[str, Callable[[Model, Sides], list[Score]]] = {
    "knn": knn,
    "linear": linear,
    "retrieval": across_modalities,
}
