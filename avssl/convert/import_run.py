"""`avssl import`: a run folder from a file of encoders, to use wherever a run is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from avssl.config import ConfigDict, base, resolve, to_json
from avssl.convert.encoder_file import ITEMS, has_heads, read_arrays, read_config
from avssl.errors import UsageError
from avssl.train.build_model import build_model
from avssl.train.checkpoint import Checkpoints
from avssl.train.mesh import path_name
from avssl.train.runlog import write_config

# Names that one list of an error shows.
SHOWN = 10
# What values that mean nothing raise where a model is made of them.
DAMAGE = (KeyError, TypeError, ValueError, AttributeError)


def import_encoders(file: Path, run: Path, *, data: str = "") -> str:
    """Makes the run folder `run`; gives a line about it.

    data: the source that evaluations take for its training data (default: what it was trained on).
    """
    described = read_config(file)
    config = run_config_of(described, file, data)
    arrays = fitting(read_arrays(file), wanted_arrays(config, file), file)
    trained = described["trained"]
    step = trained["step"]
    names = list(described["label_names"]) if has_heads(described) else []
    write_run(
        run, config, arrays, step=step, fingerprint=trained["data_fingerprint"], label_names=names
    )
    heads = f" with {', '.join(config.objectives)}" if config.objectives else ""
    return (
        f"{run}: {', '.join(config.encoders)}{heads} of {file}, trained for {step} steps on "
        f"{trained['data']}"
    )


def write_run(
    run: Path,
    config: ConfigDict,
    arrays: Mapping[str, np.ndarray],
    *,
    step: int,
    fingerprint: str,
    label_names: list[str],
) -> None:
    """A run folder whose only checkpoint has these arrays and nothing to go on with."""
    if run.exists() and any(run.iterdir()):
        raise UsageError(f"{run} is there already and not empty: name a new folder")
    items = {item: tree_of(arrays, item) for item in ITEMS}
    meta = {
        "step": step,
        "config": to_json(config),
        "data_fingerprint": fingerprint,
        "label_names": label_names,
    }
    with Checkpoints(run / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(step, items, meta)
        checkpoints.wait()
        write_config(run, to_json(config))


def run_config_of(described: Mapping[str, Any], file: Path, data: str) -> ConfigDict:
    """The config of a run folder that has encoders, with heads or without, and trains nothing."""
    heads = has_heads(described)
    try:
        trained = described["trained"]
        source, step = trained["data"], trained["step"]
        if not isinstance(source, str) or not isinstance(trained["data_fingerprint"], str):
            raise TypeError("trained.data and trained.data_fingerprint must be text")
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            raise TypeError(f"trained.step must be a number of steps, not {step!r}")
        config = base()
        config.precision = described["precision"]
        config.encoders = ConfigDict(described["encoders"])
        config.views = ConfigDict(described["views"])
        config.data.source = data or source
        config.steps = max(step, 1)
        if heads:
            config.objectives = ConfigDict(described["objectives"])
            check_names_of_classes(described["label_names"])
        resolved = resolve(config, trains=False)
    except DAMAGE as error:
        raise damaged(file, error) from error
    if heads:
        check_weights(resolved, file)
        return resolved
    check_own_views(resolved, f"the config.json of {file}")
    return resolved


def check_own_views(config: ConfigDict, where: str) -> None:
    """Of encoders without objectives."""
    for name, encoder in config.encoders.items():
        view = config.views.get(name)
        if view is None or view.modality != encoder.modality:
            raise UsageError(
                f"{where} has no {encoder.modality} view for its encoder '{name}': every encoder looks at the "
                "view of its own name"
            )


def damaged(file: Path, error: Exception) -> UsageError:
    return UsageError(f"the config.json of {file} is damaged: {error!r}")


def check_names_of_classes(names: Any) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"label_names must be a list of names, not {names!r}")


def check_weights(config: ConfigDict, file: Path) -> None:
    """An objective without a weight is no part of a run."""
    if not config.objectives or not all(keys.weight for keys in config.objectives.values()):
        raise UsageError(
            f"the config.json of {file} is of encoders with heads, and its `objectives` are empty or have one "
            "of weight 0: export them anew"
        )


def wanted_arrays(config: ConfigDict, file: Path) -> dict[str, Any]:
    """What a run of this config has, by name."""
    try:
        model = build_model(config)
        abstract = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    except DAMAGE as error:
        raise damaged(file, error) from error
    return {
        f"{item}/{path_name(path)}": leaf
        for item in ITEMS
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract[item])
    }


def fitting(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any], file: Path
) -> dict[str, np.ndarray]:
    """The arrays in the types of the model; UsageError lists the names that do not fit."""
    missing = sorted(wanted.keys() - arrays.keys())
    unexpected = sorted(arrays.keys() - wanted.keys())
    shaped = [
        f"{name} ({list(arrays[name].shape)} there, {list(wanted[name].shape)} here)"
        for name in sorted(wanted.keys() & arrays.keys())
        if arrays[name].shape != wanted[name].shape
    ]
    lists = {"missing": missing, "unexpected": unexpected, "of another shape": shaped}
    if any(lists.values()):
        told = "; ".join(f"{kind}: {shortened(names)}" for kind, names in lists.items() if names)
        raise UsageError(f"{file} does not fit its config: {told}")
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            raise UsageError(f"{file}: {name} is {array.dtype}, and weights are floats")
        if not np.isfinite(array).all():
            raise UsageError(f"{file}: {name} holds values that are not finite")
    return {name: array.astype(wanted[name].dtype, copy=False) for name, array in arrays.items()}


def shortened(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def tree_of(arrays: Mapping[str, np.ndarray], item: str) -> dict[str, Any]:
    """The arrays of one item in nested dicts, by the parts of their names."""
    root: dict[str, Any] = {}
    for name, array in arrays.items():
        first, *parents, last = name.split("/")
        if first != item:
            continue
        branch = root
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = array
    return root
