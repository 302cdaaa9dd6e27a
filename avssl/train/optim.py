"""Optimisers by name from optax, schedules as functions of the step, rates and rules by parameter path."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from avssl.config import ConfigDict
from avssl.errors import UsageError, unknown
from avssl.models.stages import stage_depths
from avssl.train.mesh import path_name

Rule = tuple[str, Mapping[str, float]]
RULE_KEYS = ("learning_rate", "weight_decay")
# Of the parameters that stay as they are.
FROZEN = "frozen"


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that one optimiser moves. waits: until the warm-up of the heads is over."""

    multiplier: float
    decay: float
    waits: bool = False

    @property
    def name(self) -> str:
        """As checkpoints have it."""
        return f"lr{self.multiplier:.9g}_wd{self.decay:.9g}{'_waits' if self.waits else ''}"


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


def build_optimizer(
    config: ConfigDict, steps: int, encoders: Mapping[str, str] = MappingProxyType({})
) -> optax.GradientTransformation:
    """The optimiser of a resolved config's `optimizer` group. encoders: of the config, the kind by name.

    Optimisers that take a `weight_decay` (adamw, lamb, lion ...) decouple it; for the others it is added to
      the gradient, as PyTorch's Adam and SGD do. rules: the first whose expression is found in a parameter's
      path multiplies its learning rate and sets its decay; By default kernels alone decay.

    layer_decay: multiplies the rate of an encoder's parameters by its power of their depth from the top
      (`models/stages.py`; Clark et al. 2020, BEiT), heads at depth 0. head_warmup_steps: for so many steps the
      rate of the encoders is 0, and with it their decay; moments gather from the first step on. frozen:
      parameters whose paths have one of these expressions get no update, no decay and no moments.
    """
    rules = [checked_rule(rule) for rule in config.rules]
    groups: dict[str, Group] = {}
    head_warmup = config.head_warmup_steps or 0
    if head_warmup >= steps:
        raise UsageError(
            f"optimizer.head_warmup_steps={head_warmup} leaves nothing of steps={steps}"
        )

    def group_of(path: Sequence[Any], leaf: Any, depths: Mapping[str, int]) -> str:
        name = path_name(path)
        if matches(config.frozen, name):
            return FROZEN
        multiplier, decay = 1.0, config.weight_decay if decays(path, leaf) else 0.0
        for pattern, values in rules:
            if re.search(pattern, name):
                multiplier = values.get("learning_rate", multiplier)
                decay = values.get("weight_decay", decay)
                break
        if config.layer_decay is not None:
            multiplier *= config.layer_decay ** depths.get(name, 0)
        group = Group(multiplier, decay, bool(head_warmup) and name.startswith("encoders/"))
        groups[group.name] = group
        return group.name

    schedule = schedule_of(config, steps)

    def labels(params: Any) -> Any:
        paths = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        check_frozen(config.frozen, paths)
        depths = depths_of(paths, encoders) if config.layer_decay is not None else {}
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: group_of(path, leaf, depths), params
        )

    def transform(group: Group) -> optax.GradientTransformation:
        def rate(step: Any) -> Any:
            own = group.multiplier * schedule(step)
            return jnp.where(step < head_warmup, 0.0, own) if group.waits else own

        return one_optimizer(config, rate, group.decay)

    def split(params: Any) -> optax.GradientTransformation:
        names_of = labels(params)
        transforms: dict[Any, Any] = {name: transform(group) for name, group in groups.items()}
        if config.frozen:
            transforms[FROZEN] = optax.set_to_zero()
        return optax.partition(transforms, names_of)

    def init(params: Any) -> Any:
        return split(params).init(params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return split(params).update(updates, state, params)

    grouped = optax.GradientTransformation(init, update)
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), grouped)
    return grouped


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether one of these expressions is found in the path of a parameter."""
    return any(re.search(pattern, name) for pattern in patterns)


def check_frozen(patterns: Sequence[str], paths: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in paths):
            raise UsageError(
                f"optimizer.frozen: '{pattern}' is found in the path of no parameter; they are such as "
                f"'{paths[0]}' and '{paths[-1]}'"
            )
    if patterns and all(matches(patterns, path) for path in paths):
        raise UsageError("optimizer.frozen leaves nothing to train: every parameter is frozen")


def depths_of(paths: Sequence[str], encoders: Mapping[str, str]) -> dict[str, int]:
    """How deep the parameters of encoders lie."""
    depths = {}
    for name, kind in encoders.items():
        prefix = f"encoders/{name}/"
        own = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
        depths |= {prefix + path: depth for path, depth in stage_depths(kind, own).items()}
    return depths


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
