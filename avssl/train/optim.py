"""Optimisers by name from optax, schedules as functions of the step, rules by parameter path."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from avssl.config import ConfigDict
from avssl.errors import UsageError, unknown
from avssl.train.mesh import path_name

Rule = tuple[str, Mapping[str, float]]
RULE_KEYS = ("learning_rate", "weight_decay")


def schedule_of(config: ConfigDict, steps: int) -> optax.Schedule:
    """The learning rate at each step: linear warm-up, then constant or a cosine to zero at `steps`."""
    peak, warmup = config.learning_rate, config.warmup_steps
    if warmup >= steps and warmup > 0:
        raise UsageError(f"optimizer.warmup_steps={warmup} leaves nothing of steps={steps}")
    if config.schedule == "cosine":
        rest = optax.cosine_decay_schedule(peak, steps - warmup)
    else:
        rest = optax.constant_schedule(peak)
    if not warmup:
        return rest
    # The first step already moves: warm-up goes from peak/warmup to peak.
    start = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([start, rest], [warmup])


# optax's optimisers that need nothing but a learning rate and the gradients.
OPTIMIZERS = (
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan",
    "amsgrad", "fromage", "lamb", "lars", "lion", "nadam", "nadamw", "novograd", "radam", "rmsprop",
    "sgd", "sign_sgd", "yogi",
)  # fmt: skip


def decays(path: Sequence[Any], leaf: Any) -> bool:
    """Weight decay is for kernels: not for biases, norms' scales or learnt temperatures."""
    return leaf.ndim > 1


def build_optimizer(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    """The optimiser of a resolved config's `optimizer` group.

    Optimisers that take a `weight_decay` (adamw, lamb, lion ...) decouple it; for the others it is added to
      the gradient, as PyTorch's Adam and SGD do. rules: the first whose expression is found in a parameter's
      path multiplies its learning rate and sets its decay; By default kernels alone decay.
    """
    rules = [checked_rule(rule) for rule in config.rules]
    groups: dict[str, tuple[float, float]] = {}

    def group_of(path: Sequence[Any], leaf: Any) -> str:
        multiplier, decay = 1.0, config.weight_decay if decays(path, leaf) else 0.0
        for pattern, values in rules:
            if re.search(pattern, path_name(path)):
                multiplier = values.get("learning_rate", multiplier)
                decay = values.get("weight_decay", decay)
                break
        name = f"lr{multiplier:g}_wd{decay:g}"
        groups[name] = (multiplier, decay)
        return name

    schedule = schedule_of(config, steps)

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(group_of, params)

    def transform(multiplier: float, decay: float) -> optax.GradientTransformation:
        return one_optimizer(config, lambda step: multiplier * schedule(step), decay)

    def split(params: Any) -> optax.GradientTransformation:
        names_of = labels(params)
        return optax.partition(
            {name: transform(*group) for name, group in groups.items()}, names_of
        )

    def init(params: Any) -> Any:
        return split(params).init(params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return split(params).update(updates, state, params)

    grouped = optax.GradientTransformation(init, update)
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), grouped)
    return grouped


def one_optimizer(
    config: ConfigDict, schedule: Callable[[Any], Any], decay: float
) -> optax.GradientTransformation:
    function = getattr(optax, config.name)
    arguments = config.arguments.to_dict()
    parameters = inspect.signature(function).parameters
    for key in arguments:
        if key not in parameters:
            raise unknown(f"argument of optimizer '{config.name}'", key, parameters)
    if "weight_decay" in parameters:
        return function(schedule, weight_decay=decay, **arguments)
    optimizer = function(schedule, **arguments)
    return optax.chain(optax.add_decayed_weights(decay), optimizer) if decay else optimizer


def checked_rule(rule: Any) -> Rule:
    try:
        pattern, values = rule
        re.compile(pattern)
        values = dict(values)
    except (TypeError, ValueError, re.error) as error:
        raise UsageError(
            f"optimizer.rules: {rule!r} is not a pair (regular expression, dict of {RULE_KEYS})"
        ) from error
    for key in values:
        if key not in RULE_KEYS:
            raise unknown("key in optimizer.rules", key, RULE_KEYS)
    return pattern, values
