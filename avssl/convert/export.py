"""`avssl export`: the encoders of a run folder as a file for others."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

import avssl
from avssl.config import run_config
from avssl.convert.encoder_file import ITEMS, write_encoders
from avssl.data.views import View
from avssl.errors import UsageError
from avssl.teachers.teacher import views_of
from avssl.train.build_model import build_model
from avssl.train.checkpoint_reader import read_checkpoint
from avssl.train.mesh import path_name


def export_encoders(run: Path, out: Path, *, averaged: bool = False) -> str:
    """Writes the encoders that a run trained, without heads and optimiser; gives a line about it.

    averaged: their exponential moving average, which the run must have kept.
    """
    config = run_config(run)
    model = build_model(config)
    wanted = ("ema" if averaged else "params", "batch_stats", "meta")
    step, items = read_checkpoint(run / "checkpoints", wanted)
    if wanted[0] not in items:
        raise UsageError(f"{run} keeps no averaged parameters: leave out --averaged")
    given = {"params": items[wanted[0]], "batch_stats": items.get("batch_stats", {})}
    arrays: dict[str, np.ndarray] = {}
    for item in ITEMS:
        for name in model.encoders:
            tree = given[item].get("encoders", {}).get(name, {})
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
                arrays[f"{item}/encoders/{name}/{path_name(path)}"] = np.asarray(leaf)
    views = {name: views_of(model, name, str(run))[0] for name in model.encoders}
    described: dict[str, Any] = {
        "precision": config.precision,
        "encoders": {name: config.encoders[name].to_dict() for name in model.encoders},
        "views": {name: keys_of(view) for name, view in views.items()},
        "trained": {
            "by": f"avssl {avssl.__version__}",
            "objectives": list(model.objectives),
            "step": step,
            "averaged": averaged,
            "data": config.data.source,
            "data_fingerprint": items["meta"]["data_fingerprint"],
        },
    }
    write_encoders(out, arrays, described)
    size = sum(array.nbytes for array in arrays.values())
    return (
        f"{out}: {', '.join(model.encoders)} of step {step} of {run}, {len(arrays)} arrays, "
        f"{size / 2**20:.1f} MiB"
    )


def keys_of(view: View) -> dict[str, Any]:
    """The keys of a view's config."""
    return {"modality": view.modality, **dataclasses.asdict(view)}
