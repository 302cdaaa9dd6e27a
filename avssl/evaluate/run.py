"""`avssl evaluate`: every protocol on a run's encoders, beside the same encoders at random initialisation.

Probes train on the first source and are scored on the second. Without a second one, a stated part of the first
is held out, by a hash of the keys: the run may have trained on it, and the line that is printed says so.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from avssl.config import ConfigDict, run_config
from avssl.console import say
from avssl.data.holdout import split_holdout
from avssl.data.overlap import warn_of_shared
from avssl.errors import UsageError, unknown
from avssl.evaluate.ensemble import OWN, check_truth, ensemble_of
from avssl.evaluate.finds import finds
from avssl.evaluate.heat_pictures import save_pictures
from avssl.evaluate.layers import check_taps, checked_layers
from avssl.evaluate.measurement import AVERAGING, SAYING, Measurement
from avssl.evaluate.missing import tell_missing
from avssl.evaluate.objects import ObjectNetwork, object_network
from avssl.evaluate.offsets import REACH
from avssl.evaluate.places import PLAIN, MapOptions, places
from avssl.evaluate.protocols import PROTOCOLS, allowed
from avssl.evaluate.released import OF_BOXES, as_released, check_released
from avssl.evaluate.results import command, facts_of, write_results
from avssl.evaluate.rows import Row, print_table, write_json
from avssl.evaluate.sides import Part
from avssl.evaluate.timing import timing
from avssl.evaluate.windows import Windows
from avssl.evaluate.zero_shot import zero_shot
from avssl.train.build_model import evaluation_model
from avssl.train.checkpoint_reader import CheckpointReader
from avssl.train.model import Model
from avssl.train.sources import open_data

HELD_OUT_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is to be measured, beside what the config says; empty and None: as there.

    A protocol that the data do not allow is left out with a word if it comes from the config, which lists those
    of every run; asked for by name in `protocols` it is an error. maps: how `localization` is scored, but for
    object_encoder: the run whose network gives its map of objects. released: whose rules are taken
    (`released.py`). truth: whose teachers say what is there (`ensemble.py`). clips, crops: how many windows of
    each clip `classification` and `tagging` average. class_vectors: what `zero_shot` compares clips with.
    layers: of the encoders, probed beside the embeddings.
    """

    data: str = ""
    test_data: str = ""
    protocols: Sequence[str] = ()
    maps: MapOptions | None = None
    released: str = ""
    truth: str = ""
    object_encoder: str = ""
    clips: int | None = None
    crops: int | None = None
    class_vectors: Path | None = None
    layers: Sequence[str] = ()


def evaluate_folder(
    workdir: Path,
    asked: Asked = Asked(),
    *,
    json_file: Path | None = None,
    results: Path | None = None,
    title: str = "",
    pictures: Path | None = None,
) -> list[Row]:
    """Evaluates the newest checkpoint of a run folder; prints the table and writes `eval.json`.

    pictures: a folder for the heat maps of `localization`, as PNG files.
    """
    config = run_config(workdir)
    measurement = planned(config, asked, draws=pictures is not None)
    if measurement is None:
        return []
    json_file = json_file or workdir / "eval.json"
    looked_at = [source for source, _ in measurement.parts]
    missing = tell_missing(looked_at, json_file.with_suffix(".missing.txt"))
    if measurement.fits:
        warn_of_shared(measurement.test, measurement.train, "that probes are trained on")
    warn_of_shared(measurement.test, measurement.trained_on, "that the run was trained on")
    step, variables, measurement.known_classes = trained_variables(workdir, measurement.whole)
    rows, trained = measurement(variables, f"step {step} of {workdir}")
    if pictures is not None:
        save_pictures(measurement.model, trained, folder=pictures, options=measurement.maps)
    if not rows:
        return rows
    print_table(rows, command())
    # A table asked for elsewhere, often of one protocol, does not replace the run's own.
    write_json(json_file, rows, command())
    if results is not None:
        facts = [*facts_of(workdir, config.seed), *missing]
        facts += [f"{AVERAGING}: {measurement.several}"] if measurement.several else []
        write_results(results, title or workdir.name, rows, facts)
        say(f"wrote the section '{title or workdir.name}' of {results}")
    return rows


def planned(
    config: ConfigDict,
    asked: Asked = Asked(),
    *,
    draws: bool = False,
) -> Measurement | None:
    """What `evaluate_folder` measures, of any weights; None where the data allow none of it.

    draws: whether heat maps are wanted, which only `localization` has.
    """
    chosen = known_protocols(asked.protocols or config.eval.protocols)
    check_released(asked.released, chosen)
    check_truth(asked.truth, chosen)
    if (asked.maps or asked.object_encoder or draws) and "localization" not in chosen:
        raise UsageError(
            "--alpha, --object-encoder and --save-visualizations are for the protocol localization: add it to "
            "--protocols"
        )
    options = config.eval
    maps = dataclasses.replace(asked.maps or PLAIN, released=asked.released)
    if maps.share is None:
        maps = dataclasses.replace(maps, share=options.get("alpha"))
    if asked.object_encoder and maps.share is None:
        raise UsageError(
            "--object-encoder gives the map that --alpha fuses with the audio-visual one: add --alpha 0.4, or "
            "set the config's eval.alpha"
        )
    if asked.class_vectors is not None and "zero_shot" not in chosen:
        raise UsageError("--class-vectors is for the protocol zero_shot: add it to --protocols")
    train, test = sources(config, asked.data, asked.test_data)
    chosen = allowed(chosen, train, test, bool(asked.protocols))
    if not chosen:
        return None
    model = as_released(asked.released, evaluation_model(config))
    scores_objects = "localization" in chosen and maps.share is not None
    if scores_objects and (spec := asked.object_encoder or options.get("object_encoder")):
        maps = dataclasses.replace(maps, objects=sees_objects(spec, config, model))
    ensemble = None
    if asked.truth:
        told = config if asked.truth == OWN else run_config(Path(asked.truth))
        ensemble = ensemble_of(told)
        ensemble.check(model, test)
    known = {
        **PROTOCOLS,
        "detection": partial(
            finds,
            track_score=options.get("track_score"),
            released=asked.released in OF_BOXES,
            told=None if ensemble is None else ensemble.boxes,
        ),
        "localization": partial(places, options=maps),
        "synchronization": partial(timing, reach=options.get("offset_frames") or REACH),
        "zero_shot": partial(zero_shot, vectors=asked.class_vectors),
    }
    windows = Windows(
        asked.clips or options.get("clips") or 1, asked.crops or options.get("crops") or 1
    )
    return Measurement(
        config,
        model,
        train,
        test,
        {name: known[name] for name in chosen},
        asked_for=bool(asked.protocols),
        several=windows if windows.several and SAYING & set(chosen) else None,
        layers=checked_layers(asked.layers or options.get("layers") or ()),
        maps=maps,
    )


def check_options(config: ConfigDict) -> None:
    """Refuses, before anything is trained, what the table at the end would."""
    options = config.eval
    model = evaluation_model(config)
    if layers := checked_layers(options.get("layers") or ()):
        check_taps(layers, model.without_draws())
    fuses = "localization" in options.protocols and options.get("alpha") is not None
    if fuses and (spec := options.get("object_encoder")):
        sees_objects(spec, config, model)


def sees_objects(spec: str, config: ConfigDict, model: Model) -> ObjectNetwork:
    network = object_network(spec, config.precision)
    network.check(model)
    return network


def known_protocols(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in PROTOCOLS:
            raise unknown("protocol", name, PROTOCOLS)
    return tuple(names)


def trained_variables(workdir: Path, model: Model) -> tuple[int, Any, Sequence[str] | None]:
    """The newest sound checkpoint's step, parameters and running statistics, and the classes it names."""
    reader = CheckpointReader(workdir / "checkpoints")
    step = reader.latest()
    if step is None:
        raise UsageError(f"{workdir} has no checkpoint yet: train it with `avssl pretrain` first")
    abstract = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    abstract = {**abstract, "ema": abstract["params"]}
    items = {name: abstract[name] for name in evaluated_items(model)}
    return step, reader.restore(step, items), reader.meta(step).get("label_names")


def evaluated_items(model: Model) -> list[str]:
    """What of a state an evaluation looks at."""
    averaged = any(read.mode == "ema" for read in model.reads)
    remembers = any(objective.heads_read_memory for objective in model.objectives.values())
    return ["params", "batch_stats", *["ema"] * averaged, *["memory"] * remembers]


def sources(config: ConfigDict, data: str, test_data: str) -> tuple[Part, Part]:
    """The records probes train on and those they are scored on."""
    default = config.eval.data or config.data.source
    data = data or default
    test_data = test_data or (config.eval.test_data if data == default else "")
    train = open_data(config, data, needs_cache=False)
    if test_data:
        test = open_data(config, test_data, needs_cache=False)
        return (train, np.arange(len(train))), (test, np.arange(len(test)))
    fraction = config.data.holdout_fraction or HELD_OUT_FRACTION
    kept, held_out = split_holdout(train, fraction)
    seen = (
        "kept out of training" if config.data.holdout_fraction else "which training may have seen"
    )
    say(f"no test data given: scored on {len(held_out)} of {len(train)} records of {data}, {seen}")
    return (train, kept), (train, held_out)
