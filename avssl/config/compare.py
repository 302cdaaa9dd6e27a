"""What moves the numbers between two configs."""

import re
from collections.abc import Mapping
from typing import Any

from avssl.config.tree import flatten

# What may differ between a run folder and the command that resumes it: none of these moves a number
# (`data.num_records` follows from the data, whose fingerprint is compared).
FREE_KEYS = (
    "parallel.", "data.workers", "data.cache", "data.local_cache", "data.num_records", "log_every_steps",
    "checkpoint.", "eval.",
)  # fmt: skip
# Where a teacher lies, and what follows from it and the data: its hash says what it is.
FREE_PATHS = re.compile(r"teachers\.[^.]+\.(run|store|classes_are_labels)$")


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What moves the numbers between two resolved configs, one line each: `key: old -> new`."""
    flat_old, flat_new = flatten(old), flatten(new)
    lines = []
    for key in changed_keys(flat_old, flat_new):
        if is_free(key):
            continue
        before, after = flat_old.get(key, "absent"), flat_new.get(key, "absent")
        longer = key == "steps" and before != "absent" and after != "absent" and after > before
        if longer and flat_new["optimizer.schedule"] == "constant":
            continue
        lines.append(f"{key}: {before} -> {after}")
    return lines


def is_free(key: str) -> bool:
    """Whether a run folder may be gone on with where this key says something else."""
    return key.startswith(FREE_KEYS) or FREE_PATHS.match(key) is not None


def is_of_evaluation(key: str) -> bool:
    """Free for the training, but it says what was measured."""
    return key.startswith("eval.")


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys of two flat configs that do not say the same, in order; of configs inside them, theirs.

    A key that one of them did not know of counts only where it says something, and nothing is said in any way.
    """
    keys = []
    for key in sorted(old.keys() | new.keys()):
        sides = [side[key] for side in (old, new) if key in side]
        if len(sides) == 1:
            keys += [] if says_nothing(sides[0]) else [key]
        elif all(isinstance(side, dict) for side in sides):
            keys += [f"{key}.{inner}" for inner in changed_keys(*sides)]
        elif sides[0] != sides[1] and not all(map(says_nothing, sides)):
            keys.append(key)
    return keys


def says_nothing(value: Any) -> bool:
    """Whether a key that runs of before did not know of is at what they did: empty, or switched off."""
    return value is None or value is False or value in ("", {}, (), [])
