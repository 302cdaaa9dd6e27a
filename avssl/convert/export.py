"""`avssl export`: the encoders of a run folder as a file for others."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import avssl
from avssl.config import ConfigDict, run_config
from avssl.convert.encoder_file import ITEMS, write_encoders
from avssl.convert.heads import heads_of
from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.teachers.teacher import classes_of, views_of
from avssl.train.build_model import build_model
from avssl.train.checkpoint_reader import read_checkpoint
from avssl.train.mesh import path_name
from avssl.train.model import Model


def export_encoders(
    run: Path,
    out: Path,
    *,
    averaged: bool = False,
    encoders: Sequence[str] = (),
    heads: bool = False,
) -> str:
    """Writes the encoders that a run trained, without optimiser; gives a line about it.

    averaged: their exponential moving average, which the run must have kept. encoders: which of them; without,
    all. heads: with those by which they teach logits or boxes.
    """
    config = run_config(run)
    model = build_model(config)
    for name in encoders:
        if name not in model.encoders:
            raise unknown(f"encoder of {run}", name, model.encoders)
    names = [name for name in model.encoders if not encoders or name in encoders]
    objectives = heads_of(model, names, run) if heads else ()
    views = config.views.to_dict() if heads else views_of_their_own(model, names, run)
    wanted = ("ema" if averaged else "params", "batch_stats", "meta")
    step, items = read_checkpoint(run / "checkpoints", wanted)
    if wanted[0] not in items:
        raise UsageError(f"{run} keeps no averaged parameters: leave out --averaged")
    given = {"params": items[wanted[0]], "batch_stats": items.get("batch_stats", {})}
    arrays: dict[str, np.ndarray] = {}
    for item in ITEMS:
        for group, chosen in (("encoders", names), ("objectives", objectives)):
            for name in chosen:
                tree = given[item].get(group, {}).get(name, {})
                for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
                    arrays[f"{item}/{group}/{name}/{path_name(path)}"] = np.asarray(leaf)
    described: dict[str, Any] = {
        "precision": config.precision,
        "encoders": {name: config.encoders[name].to_dict() for name in names},
        "views": views,
        "trained": {
            "by": f"avssl {avssl.__version__}",
            "objectives": list(model.objectives),
            "step": step,
            "averaged": averaged,
            "data": config.data.source,
            "data_fingerprint": items["meta"]["data_fingerprint"],
        },
    }
    if heads:
        described["objectives"] = {name: config.objectives[name].to_dict() for name in objectives}
        described["label_names"] = names_of_classes(items["meta"], config, run)
    write_encoders(out, arrays, described)
    size = sum(array.nbytes for array in arrays.values())
    with_heads = f" with {', '.join(objectives)}" if heads else ""
    return (
        f"{out}: {', '.join(names)}{with_heads} of step {step} of {run}, {len(arrays)} arrays, "
        f"{size / 2**20:.1f} MiB"
    )


def names_of_classes(meta: Mapping[str, Any], config: ConfigDict, run: Path) -> list[str]:
    if meta.get("label_names") == []:  # of weights that came without
        return []
    classes = classes_of(meta, config)
    if classes is None:
        raise UsageError(
            f"the checkpoint of {run} does not name its classes, and its data.source '{config.data.source}' "
            "cannot be opened: restore that, or leave out --heads"
        )
    return list(classes)


def views_of_their_own(model: Model, encoders: Sequence[str], run: Path) -> dict[str, Any]:
    return {name: keys_of(view_of(model, name, run)) for name in encoders}


def view_of(model: Model, encoder: str, run: Path) -> View:
    """What it was trained on, which a run of its own is to see as well."""
    try:
        return views_of(model, encoder, str(run))[0]
    except UsageError as error:
        others = ",".join(name for name in model.encoders if name != encoder)
        hint = f"; --encoders {others} leaves it out" if others else ""
        raise UsageError(f"{error}{hint}") from error


def keys_of(view: View) -> dict[str, Any]:
    """The keys of a view's config."""
    return {"modality": view.modality, **dataclasses.asdict(view)}
