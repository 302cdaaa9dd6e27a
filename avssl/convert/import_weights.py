"""`avssl import --config`: a run folder of one encoder from the weights of another program.

The config says what they are, as of a run that was trained here: the encoder, the view that it learnt from, and
`classify` where the file's classifier is to come along, to teach logits.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from avssl.config import ConfigDict
from avssl.convert.import_run import check_own_views, fitting, wanted_arrays, write_run
from avssl.convert.weights_file import read_state
from avssl.errors import UsageError, unknown
from avssl.models.registry import build_encoder
from avssl.models.releases import RELEASES, Release
from avssl.models.torch_names import from_torch
from avssl.objectives import objective_class
from avssl.objectives.classify import Classify
from avssl.train.mesh import compute_type, path_name


def import_weights(file: Path, run: Path, config: ConfigDict, classes: Path | None = None) -> str:
    """Makes the run folder `run`; gives a line about it.

    classes: a file with the names of the classifier's classes, one a line; without it they are not known.
    """
    if len(config.encoders) != 1:
        raise UsageError(
            f"a file of weights is of one encoder, and the config has {', '.join(config.encoders) or 'none'}: "
            "take one that has no other"
        )
    [name] = config.encoders
    head = classifier_name(config)
    if head is None:
        check_own_views(config, "the config")
    keys = config.encoders[name]
    if keys.name not in RELEASES:
        raise unknown(f"encoder with official weights in encoders.{name}.name", keys.name, RELEASES)
    release, state = RELEASES[keys.name], read_state(file)
    module = build_encoder(name, keys.to_dict(), compute_type(config.precision))
    try:
        variables = from_torch(release.table(module), state, release.unread)
    except UsageError as error:
        raise UsageError(f"{file} is not of {keys.name}: {error}") from error
    except ValueError as error:
        # An array of another number of axes, which no shape is compared with.
        raise UsageError(f"{file} has other arrays than {keys.name}: {error}") from error
    arrays = {
        f"{item}/encoders/{name}/{path_name(path)}": array
        for item, tree in variables.items()
        for path, array in jax.tree_util.tree_leaves_with_path(tree)
    }
    if head is not None:
        arrays |= classifier_arrays(state, release, head, file, keys.name)
    arrays = fitting(arrays, wanted_arrays(config, file), file)
    names = names_in(classes, config, head) if classes is not None else []
    write_run(run, config, arrays, step=0, fingerprint="", label_names=names)
    known = f"with {len(names)} names" if names else "whose names are not known"
    return f"{run}: {name} of {file}" + (f" and its classes, {known}" if head else "")


def classifier_name(config: ConfigDict) -> str | None:
    """The objective that the file's classifier is of, if the config has any."""
    names = [name for name, keys in config.objectives.items() if keys.weight]
    if not names:
        return None
    if len(names) > 1 or not issubclass(objective_class(names[0]), Classify):
        raise UsageError(
            f"a file of weights has a classifier at most, and the config the objectives {', '.join(names)}: "
            "take one with `classify` alone, or without any"
        )
    return names[0]


def classifier_arrays(
    state: Mapping[str, np.ndarray], release: Release, head: str, file: Path, kind: str
) -> dict[str, np.ndarray]:
    weight, bias = (f"{release.classifier}.{part}" for part in ("weight", "bias"))
    if not release.classifier or weight not in state or bias not in state:
        wanted = f", '{weight}' and '{bias}'" if release.classifier else ""
        raise UsageError(
            f"{file} has no classifier of {kind}{wanted}: leave it out (--config.objectives.{head}.weight=0)"
        )
    where = f"params/objectives/{head}/classifier"
    return {f"{where}/kernel": state[weight].T, f"{where}/bias": state[bias]}


def names_in(classes: Path, config: ConfigDict, head: str | None) -> list[str]:
    if head is None:
        raise UsageError("--classes names those of a classifier, and the config has no `classify`")
    try:
        names = classes.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {classes} cannot be read: {error}") from error
    if len(names) != (number := config.objectives[head].num_classes):
        raise UsageError(f"--classes {classes} has {len(names)} lines for {number} classes")
    return names
