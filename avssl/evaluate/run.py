"""`avssl evaluate`: every protocol on a run's encoders, beside the same encoders at random initialisation.

Probes train on the first source and are scored on the second. Without a second one, a stated part of the first
is held out, by a hash of the keys: the run may have trained on it, and the line that is printed says so.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from avssl.config import ConfigDict, from_json, run_config
from avssl.console import say
from avssl.data.holdout import split_holdout
from avssl.data.open import open_source
from avssl.data.pipeline import usable_indices
from avssl.data.record import Source
from avssl.errors import UsageError, unknown
from avssl.evaluate.baseline import NUM_BATCHES, random_variables
from avssl.evaluate.features import Extracted, Extractor
from avssl.evaluate.heat_pictures import save_pictures
from avssl.evaluate.offsets import REACH
from avssl.evaluate.places import PLAIN, MapOptions, places
from avssl.evaluate.protocols import PROBES, PROTOCOLS
from avssl.evaluate.results import command, facts_of, write_results
from avssl.evaluate.rows import Row, print_table, write_json
from avssl.evaluate.sides import Part, Score, Sides, classes_by_name
from avssl.evaluate.timing import timing
from avssl.evaluate.windows import Windows, averaged
from avssl.train.build_model import evaluation_model
from avssl.train.checkpoint_reader import CheckpointReader
from avssl.train.model import Model
from avssl.train.stream import training_indices, training_pipeline

HELD_OUT_FRACTION = 0.2
# The protocols that score what objectives say themselves.
SAYING = {"classification", "tagging"}
AVERAGING = "classification and tagging"


def evaluate_folder(
    workdir: Path,
    *,
    data: str = "",
    test_data: str = "",
    protocols: Sequence[str] = (),
    json_file: Path | None = None,
    results: Path | None = None,
    title: str = "",
    maps: MapOptions | None = None,
    pictures: Path | None = None,
    clips: int | None = None,
    crops: int | None = None,
) -> list[Row]:
    """Evaluates the newest checkpoint of a run folder; prints the table and writes `eval.json`.

    maps: how `localization` is scored. pictures: a folder for its heat maps, as PNG files. clips, crops: how
    many windows of each clip `classification` and `tagging` average, by default as the config says.

    A protocol that the data do not allow is left out with a word if it comes from the config, which
    lists those of every run; asked for by name in `protocols` it is an error.
    """
    config = run_config(workdir)
    asked_for = bool(protocols)
    chosen = known_protocols(protocols or config.eval.protocols)
    if (maps or pictures) and "localization" not in chosen:
        raise UsageError(
            "--alpha, --released and --save-visualizations are for the protocol localization: add it to "
            "--protocols"
        )
    train, test = sources(config, data, test_data)
    chosen = allowed(chosen, train, test, asked_for)
    options = maps or PLAIN
    known = {
        **PROTOCOLS,
        "localization": partial(places, options=options),
        "synchronization": partial(timing, reach=config.eval.get("offset_frames") or REACH),
    }
    wanted = {name: known[name] for name in chosen}
    draw = partial(save_pictures, folder=pictures, options=options) if pictures else None
    windows = Windows(
        clips or config.eval.get("clips") or 1, crops or config.eval.get("crops") or 1
    )
    several = windows if windows.several and SAYING & set(chosen) else None
    rows = (
        measured(config, workdir, train, test, wanted, asked_for, draw, several) if chosen else []
    )
    if not rows:
        return rows
    print_table(rows, command())
    # A table asked for elsewhere, often of one protocol, does not replace the run's own.
    write_json(json_file or workdir / "eval.json", rows, command())
    if results is not None:
        facts = facts_of(workdir, config.seed) + ([f"{AVERAGING}: {several}"] if several else [])
        write_results(results, title or workdir.name, rows, facts)
        say(f"wrote the section '{title or workdir.name}' of {results}")
    return rows


def known_protocols(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in PROTOCOLS:
            raise unknown("protocol", name, PROTOCOLS)
    return tuple(names)


def allowed(protocols: Sequence[str], train: Part, test: Part, asked_for: bool) -> list[str]:
    """The protocols that the labels allow, which is known before anything is decoded."""
    probes = [name for name in protocols if name in PROBES]
    try:
        if probes:
            check_classes(train, test)
    except UsageError as error:
        if asked_for:
            raise
        say(f"left out: {', '.join(probes)}, as {error}")
        return [name for name in protocols if name not in probes]
    return list(protocols)


def check_classes(train: Part, test: Part) -> None:
    """Refuses, before any clip is decoded, what no probe could be trained or scored on."""
    for (source, indices), num_needed, purpose in ((train, 2, "trained"), (test, 1, "scored")):
        labels = source.labels()[indices]
        if (num_classes := len(np.unique(labels[labels >= 0]))) < num_needed:
            raise UsageError(
                f"a probe cannot be {purpose} on {source.spec}, whose clips have "
                f"{num_classes or 'no'} class{'' if num_classes == 1 else 'es'}: sort its videos "
                "into a folder per class, or list them with labels in a manifest"
            )


def measured(
    config: ConfigDict,
    workdir: Path,
    train: Part,
    test: Part,
    protocols: Mapping[str, Callable[[Model, Sides], list[Score]]],
    asked_for: bool,
    draw: Callable[[Model, Sides], None] | None,
    several: Windows | None,
) -> list[Row]:
    """The rows of these protocols, and the pictures of the trained encoders."""
    model = evaluation_model(config)
    step, variables = trained_variables(workdir, model)
    train, test = usable(model, *train), usable(model, *test)
    extractor = Extractor(model)
    weights = {"trained": variables, "random": baseline(config, model)}
    source = open_source(config.data.source)
    trained_on = source, training_indices(config, source, model)
    sides = both_sides(extractor, weights, train, test, trained_on, config.data.workers)
    trained = sides["trained"]
    for (source, indices), extracted in ((train, trained.train), (test, trained.test)):
        if num_lost := len(indices) - len(extracted.index):
            say(
                f"{source.spec}: {num_lost} of {len(indices)} clips are not used: "
                f"{extracted.num_unreadable} cannot be read, the others lack a modality"
            )
    say(f"evaluated step {step} of {workdir} on {len(trained.test.index)} clips of {test[0].spec}")
    rows = []
    of_windows = with_windows(model, sides, several) if several else sides
    for name, protocol in protocols.items():
        each = of_windows if name in SAYING else sides
        try:
            pairs = list(
                zip(*(protocol(model, each[who]) for who in ("trained", "random")), strict=True)
            )
        except UsageError as error:
            if asked_for:
                raise
            say(f"left out: {name}, as {error}")
            continue
        rows += [row_of(name, ours, theirs) for ours, theirs in pairs]
    if draw is not None:
        draw(model, trained)
    return rows


def row_of(protocol: str, ours: Score, random: Score) -> Row:
    low, high = ours.interval or (None, None)
    numbers = ours.value, random.value, ours.chance, ours.n, low, high
    return Row(protocol, ours.features, ours.metric, *numbers)


def with_windows(model: Model, sides: Mapping[str, Sides], windows: Windows) -> dict[str, Sides]:
    """Both sides with what is said of several windows, of the test clips that can be read in all of them."""
    first = next(iter(sides.values()))
    weights = {name: own.variables for name, own in sides.items()}
    kept, said = averaged(
        model, weights, first.scored[0], first.test.index, windows, workers=first.workers
    )
    lost = int(np.count_nonzero(~kept))
    say(
        f"{AVERAGING}: {windows}"
        + (f", {lost} of {len(kept)} left out: unreadable" if lost else "")
    )
    return {
        name: dataclasses.replace(own, test=own.test.where(kept), averaged=said[name])
        for name, own in sides.items()
    }


def trained_variables(workdir: Path, model: Model) -> tuple[int, Any]:
    """The newest sound checkpoint's parameters and running statistics."""
    reader = CheckpointReader(workdir / "checkpoints")
    step = reader.latest()
    if step is None:
        raise UsageError(f"{workdir} has no checkpoint yet: train it with `avssl pretrain` first")
    abstract = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    items = {name: abstract[name] for name in ("params", "batch_stats")}
    if any(read.mode == "ema" for read in model.reads):
        items["ema"] = abstract["params"]
    if any(objective.heads_read_memory for objective in model.objectives.values()):
        items["memory"] = abstract["memory"]
    return step, reader.restore(step, items)


def sources(config: ConfigDict, data: str, test_data: str) -> tuple[Part, Part]:
    """The records probes train on and those they are scored on."""
    default = config.eval.data or config.data.source
    data = data or default
    test_data = test_data or (config.eval.test_data if data == default else "")
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


def both_sides(
    extractor: Extractor,
    weights: Mapping[str, Any],
    train: Part,
    test: Part,
    trained_on: Part,
    workers: int,
) -> dict[str, Sides]:
    """Features of both parts, with the test labels in the numbering of the training part."""
    fitted, scored = (one_side(extractor, weights, part, workers) for part in (train, test))

    def side(name: str) -> Sides:
        names = test[0].label_names, train[0].label_names
        labels = classes_by_name(scored[name].labels, *names)
        tested = dataclasses.replace(scored[name], labels=labels)
        return Sides(weights[name], fitted[name], tested, test, trained_on, workers)

    return {name: side(name) for name in weights}


def one_side(
    extractor: Extractor, weights: Mapping[str, Any], part: Part, workers: int
) -> dict[str, Extracted]:
    """Features of the clips that have every modality the model looks at."""
    extracted = extractor.extract(weights, *part, workers=workers)
    present = next(iter(extracted.values())).present
    whole = np.logical_and.reduce(list(present.values()))
    if not whole.any():
        raise UsageError(
            f"none of the {len(part[1])} clips of {part[0].spec} can be used; look at them with "
            f"`avssl data verify {part[0].spec}`"
        )
    return {name: features.where(whole) for name, features in extracted.items()}


def usable(model: Model, source: Source, indices: np.ndarray) -> Part:
    """The records that have every modality the model looks at, as far as the source knows."""
    needed = {view.modality for view in model.views.values()}
    kept, num_left_out = usable_indices(source, needed, indices)
    if num_left_out:
        say(f"{source.spec}: {num_left_out} clips lack a modality and are left out")
    if not len(kept):
        raise UsageError(f"no clip of {source.spec} has {' and '.join(sorted(needed))}")
    return source, kept


def baseline(config: ConfigDict, model: Model) -> Any:
    """Random parameters of the run's seed; statistics from the run's own training batches."""
    source = open_source(config.data.source)
    indices = training_indices(config, source, model)
    # A run trained on whole batches; imported encoders may stand before less data than one.
    config = from_json(config.to_dict())
    config.batch_size = min(config.batch_size, len(indices))
    pipeline = training_pipeline(config, source, model, indices)
    batches = pipeline.batches(0)
    try:
        return random_variables(model, config.seed, itertools.islice(batches, NUM_BATCHES))
    finally:
        batches.close()
