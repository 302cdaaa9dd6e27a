"""Encoders as a file that anyone can read: a safetensors file and a `config.json` beside it.

Arrays are named as in a checkpoint: `params/encoders/NAME/...` and `batch_stats/encoders/NAME/...`. The config
says how each encoder is built (`encoders.NAME`), what it looks at (`views.NAME`) and where it comes from
(`trained`).

With heads there are `params/objectives/NAME/...` too, how they are built (`objectives.NAME`), and the names of
their classes in order (`label_names`); `views` are then all views of the run.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from avssl.data.keys import printable
from avssl.data.storage import told_plainly
from avssl.errors import UsageError

FORMAT = "avssl encoders"
VERSION = 1
# Of files with heads: who reads encoders alone refuses them.
VERSION_WITH_HEADS = 2
SUFFIX = ".safetensors"
ITEMS = ("params", "batch_stats")


def config_beside(file: Path) -> Path:
    return file.parent / "config.json"


def write_encoders(file: Path, arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> None:
    """Both files, whole or not at all; nothing that is there already is overwritten.

    The config comes first: alone it can be told for what is left of an export that was killed, where weights
    alone might be anyone's.
    """
    if file.suffix != SUFFIX:
        raise UsageError(f"'{printable(str(file))}' must end with {SUFFIX}")
    version = VERSION_WITH_HEADS if "objectives" in config else VERSION
    text = json.dumps({"format": FORMAT, "version": version, **config}, indent=1) + "\n"
    beside = config_beside(file)
    for path in (file, beside):
        if path.exists() and not (path == beside and is_unfinished(beside)):
            raise UsageError(
                f"'{printable(str(path))}' is there already: an export is a {SUFFIX} file and its config.json, "
                "so give each a folder of its own"
            )
    num_bytes = sum(array.nbytes for array in arrays.values())
    with told_plainly(str(file.parent), lambda: num_bytes):
        file.parent.mkdir(parents=True, exist_ok=True)
        half, half_beside = (
            path.with_name(f".{path.name}.{os.getpid()}") for path in (file, beside)
        )
        try:
            # The library keeps no strides, and makes files that only their owner can read.
            whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            half.write_bytes(save(whole))
            half_beside.write_text(text, encoding="utf-8")
            os.replace(half_beside, beside)
            os.replace(half, file)
        except BaseException:
            for path in (half, half_beside, beside):
                with contextlib.suppress(OSError):
                    path.unlink()
            raise


def is_unfinished(beside: Path) -> bool:
    """Whether a `config.json` is of an export that never came to its weights."""
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    of_export = isinstance(config, dict) and config.get("format") == FORMAT
    return of_export and not any(beside.parent.glob(f"*{SUFFIX}"))


def read_config(file: Path) -> dict[str, Any]:
    """The `config.json` of an export."""
    if not file.is_file():
        raise UsageError(f"'{printable(str(file))}' is no file")
    beside = config_beside(file)
    shown = printable(str(beside))
    if not beside.is_file():
        raise UsageError(
            f"'{shown}' is not there: an export is a {SUFFIX} file and its config.json, and weights of other "
            "programs are imported with --config"
        )
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"'{shown}' is damaged: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise UsageError(
            f"'{shown}' is not of `avssl export`: its format is not '{FORMAT}'; weights of other programs "
            "are imported with --config"
        )
    if config.get("version") not in (VERSION, VERSION_WITH_HEADS):
        raise UsageError(
            f"'{shown}' is of version {config.get('version')!r}, and this avssl reads {VERSION} and "
            f"{VERSION_WITH_HEADS}: install the one that wrote it, or a newer one"
        )
    return config


def has_heads(config: Mapping[str, Any]) -> bool:
    return config["version"] == VERSION_WITH_HEADS


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file by name."""
    shown = printable(str(file))
    try:
        with safe_open(file, framework="np") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UsageError(f"'{shown}' is no sound safetensors file: {error}") from error
