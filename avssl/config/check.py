"""Refuses values that could only fail later and less clearly, or quietly do something else."""

import math
import re
from typing import Any

from avssl.config.tree import ConfigDict, flatten
from avssl.errors import UsageError, check_number, unknown

CHOICES = {
    "precision": ("float32", "bf16", "float64"),
    "data.cache": ("memory", "disk", "none"),
    "parallel.mode": ("mesh", "pmap"),
    "optimizer.schedule": ("constant", "cosine"),
}
# The lowest and the highest value of each number, both allowed.
BOUNDS = {
    "seed": (0, 2**31 - 1),
    "steps": (1, math.inf),
    "batch_size": (1, math.inf),
    "log_every_steps": (1, math.inf),
    "data.workers": (0, 1024),
    "data.cache_gigabytes": (0, math.inf),
    "data.max_bad_fraction": (0, 1),
    "data.num_records": (0, math.inf),
    "optimizer.learning_rate": (0, math.inf),
    "optimizer.warmup_steps": (0, math.inf),
    "optimizer.weight_decay": (0, math.inf),
    "optimizer.clip_norm": (0, math.inf),
    "optimizer.accumulate": (1, math.inf),
    # At 1 the average would stay where it began.
    "ema.decay": (0, 0.999999),
    "parallel.fsdp": (1, math.inf),
    "checkpoint.every_steps": (1, math.inf),
    "checkpoint.keep": (1, math.inf),
}
# The same of numbers that may be None.
OPTIONAL_BOUNDS = {
    "optimizer.layer_decay": (1e-3, 1),
    "optimizer.head_warmup_steps": (1, math.inf),
    "data.local_cache_gib": (1e-3, math.inf),
    "data.mixup": (0.01, math.inf),
    "data.mixup_share": (0, 1),
    "data.mixup_weight": (0, 1),
    "eval.alpha": (0, 1),
    "eval.clips": (1, math.inf),
    "eval.crops": (1, math.inf),
    "eval.every_steps": (1, math.inf),
    "eval.offset_frames": (1, math.inf),
    "eval.track_score": (1e-3, 1),
}
WHOLE = ("eval.clips", "eval.crops", "eval.every_steps", "eval.offset_frames")
# The same for keys of any encoder or objective that are so named, or end so: `label_weight`.
COMMON_BOUNDS = {
    "weight": (0, math.inf),
    "temperature": (1e-6, math.inf),
    "dropout": (0, 0.999),
    "drop_path": (0, 0.999),
}


def check(config: ConfigDict, *, trains: bool = True) -> None:
    """Raises UsageError for what no run could do."""
    from avssl.data.views import build_views

    values = flatten(config)
    for key, allowed in CHOICES.items():
        if values[key] not in allowed:
            raise unknown(key, str(values[key]), allowed)
    for key, bounds in BOUNDS.items():
        check_number(key, values[key], *bounds)
    for key, bounds in OPTIONAL_BOUNDS.items():
        if values[key] is not None:
            check_number(key, values[key], *bounds)
    for key in WHOLE:
        if isinstance(values[key], float):
            raise UsageError(f"{key} must be a whole number, not {values[key]!r}")
    check_parts(config)
    for key in ("optimizer.rules", "parallel.rules"):
        for rule in values[key]:
            check_rule(key, rule)
    check_patterns("optimizer.frozen", values["optimizer.frozen"])
    check_names(config)
    build_views(config.views.to_dict())
    if trains:
        check_trains(config)
    check_combinations(config)
    check_local_cache(config)
    check_mixup(config)
    check_teachers(config)


def check_parts(config: ConfigDict) -> None:
    """The numbers and names of encoders and objectives."""
    from avssl.objectives import objective_class

    for group in ("encoders", "objectives"):
        for name, keys in config[group].items():
            for key, value in keys.items():
                for ending, bounds in COMMON_BOUNDS.items():
                    if f"_{key}".endswith(f"_{ending}") and value is not None:
                        check_number(f"{group}.{name}.{key}", value, *bounds)
    for name, keys in config.objectives.items():
        objective = objective_class(name)
        for key, bounds in objective.bounds.items():
            check_number(f"objectives.{name}.{key}", keys[key], *bounds)
        for key, allowed in objective.choices.items():
            if keys[key] not in allowed:
                raise unknown(f"objectives.{name}.{key}", str(keys[key]), allowed)


def check_rule(key: str, rule: Any) -> None:
    """A rule is a pair whose first half is found in the paths of parameters."""
    try:
        pattern, _ = rule
        re.compile(pattern)
    except (TypeError, ValueError, re.error) as error:
        raise UsageError(
            f"{key}: {rule!r} is not a pair (regular expression, setting): {error}"
        ) from error


def check_patterns(key: str, patterns: Any) -> None:
    """Regular expressions, several of them: a string would be taken letter by letter."""
    try:
        if isinstance(patterns, str):
            raise TypeError("it is one, not a tuple of them")
        for pattern in patterns:
            re.compile(pattern)
    except (TypeError, re.error) as error:
        raise UsageError(f"{key}: {patterns!r} are no regular expressions: {error}") from error


def check_names(config: ConfigDict) -> None:
    from avssl.evaluate.protocols import PROTOCOLS
    from avssl.train.optim import OPTIMIZERS

    for name in config.eval.protocols:
        if name not in PROTOCOLS:
            raise unknown("protocol in eval.protocols", str(name), PROTOCOLS)
    if config.optimizer.name not in OPTIMIZERS:
        raise unknown("optimizer", config.optimizer.name, OPTIMIZERS)


def check_trains(config: ConfigDict) -> None:
    if not any(keys.weight for keys in config.objectives.values()):
        raise UsageError("no objective has a weight: set --config.objectives.NAME.weight=1")


def check_combinations(config: ConfigDict) -> None:
    if config.parallel.mode == "pmap" and config.parallel.fsdp > 1:
        raise UsageError(
            "parallel.mode=pmap keeps a whole copy on each device: set parallel.fsdp=1"
        )
    if config.batch_size % config.optimizer.accumulate:
        raise UsageError(
            f"batch_size {config.batch_size} does not divide into {config.optimizer.accumulate} "
            "micro-batches: change optimizer.accumulate"
        )


def check_local_cache(config: ConfigDict) -> None:
    folder, bound = config.data.local_cache, config.data.local_cache_gib
    if (folder is None) != (bound is None):
        stated, lacking = ("", "_gib=100") if bound is None else ("_gib", "=FOLDER")
        raise UsageError(f"data.local_cache{stated} needs data.local_cache{lacking} beside it")
    if folder is not None and (not isinstance(folder, str) or not folder):
        raise UsageError(f"data.local_cache must be a folder or None, not {folder!r}")


def check_mixup(config: ConfigDict) -> None:
    from avssl.objectives import OBJECTIVES, objective_class

    alpha, weight = config.data.mixup, config.data.mixup_weight
    if alpha is None and weight is None:
        if config.data.mixup_share is not None:
            raise UsageError(
                "data.mixup_share says how many clips are mixed: set data.mixup too, such as 1.0"
            )
        return
    if alpha is not None and weight is not None:
        raise UsageError(
            "data.mixup draws the weights that data.mixup_weight states: set one of the two alone"
        )
    for name, keys in config.objectives.items():
        objective = objective_class(name)
        if keys.weight and not objective.takes_mixtures:
            able = ", ".join(name for name, one in OBJECTIVES.items() if one.takes_mixtures)
            raise UsageError(
                f"mixup makes clips that are two at once, of which objective '{name}' learns nothing (but "
                f"{able} do): set data.mixup and mixup_weight to None, or objectives.{name}.weight=0"
            )
        if keys.weight and objective.takes_means_alone and weight != 0.5:
            raise UsageError(
                f"objective '{name}' learns the boxes of both clips of a mixture alike: set "
                "data.mixup_weight=0.5 and data.mixup=None"
            )
    if config.batch_size % 2:
        raise UsageError(f"mixup takes pairs: batch_size must be even, not {config.batch_size}")


def check_teachers(config: ConfigDict) -> None:
    for name, teacher in config.get("teachers", {}).items():
        # JAX has float64 switched off then, and would quietly compute in float32.
        if teacher.precision == "float64" and config.precision != "float64":
            raise UsageError(
                f"teachers.{name}.precision=float64 needs precision=float64, not {config.precision}: set "
                "both, or float32 here"
            )
