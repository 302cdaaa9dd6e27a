"""Overrides from the command line: `--config.KEY=VALUE`."""

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from avssl.config.complete import encoder_defaults, view_keys
from avssl.config.defaults import OPEN_SECTIONS
from avssl.config.tree import ConfigDict, flatten
from avssl.errors import UsageError, unknown

# Keys that hold a text or None.
OPTIONAL_TEXTS = (".frontend.statistics", "data.local_cache")


def override(config: ConfigDict, overrides: Iterable[tuple[str, str]]) -> None:
    """Applies `--config.a.b=value` flags in order. A key that does not exist is an error with the nearest."""
    from avssl.objectives import objective_defaults
    from avssl.teachers.spec import teacher_defaults

    for dotted, text in overrides:
        parts = dotted.split(".")
        if parts[0] == "encoders" and len(parts) > 1 and parts[1] in config.encoders:
            keys = config.encoders[parts[1]].to_dict()
            if parts[-1] != "name":
                complete = encoder_defaults(parts[1], keys)
                keys = {**complete, **keys, "frontend": complete["frontend"]}
            elif len(parts) == 3:
                keys = taken_over(keys, text)
            elif parts[2] == "frontend":
                keys["frontend"] = frontend_taken_over(keys.get("frontend", {}), text)
            config.encoders[parts[1]] = ConfigDict(keys)
        if parts[0] == "views" and len(parts) > 1 and parts[1] in config.views:
            config.views[parts[1]] = view_keys(parts[1], config.views[parts[1]])
        if parts[0] == "teachers" and len(parts) > 1 and parts[1] in config.teachers:
            keys = {**teacher_defaults(), **config.teachers[parts[1]].to_dict()}
            config.teachers[parts[1]] = ConfigDict(keys)
        if parts[0] == "objectives" and len(parts) > 1:
            name = parts[1]
            config.objectives[name] = ConfigDict(
                {**objective_defaults(name), **config.objectives.get(name, {})}
            )
        if dotted.startswith("optimizer.arguments."):  # the optimiser knows which there are
            name = dotted.removeprefix("optimizer.arguments.")
            if name not in config.optimizer.arguments:
                config.optimizer.arguments[name] = None
        node: Any = config
        for depth, part in enumerate(parts[:-1]):
            if not isinstance(node, ConfigDict) or part not in node:
                raise unknown_key(config, dotted, ".".join(parts[: depth + 1]))
            node = node[part]
        if not isinstance(node, ConfigDict) or parts[-1] not in node:
            raise unknown_key(config, dotted, dotted)
        current = node[parts[-1]]
        if parts[0] in OPEN_SECTIONS and type(current) is int and wants_fraction(parts):
            current = float(current)  # written as `weight=1` in a config file
        if isinstance(current, ConfigDict):
            keys = ", ".join(sorted(current)) or f"{dotted}.NAME"
            raise UsageError(f"--config.{dotted} is a group; set one of its keys: {keys}")
        with node.ignore_type():
            node[parts[-1]] = parse_value(dotted, text, current)


def parse_value(key: str, text: str, like: Any) -> Any:
    """The text of a flag as a value of the type that stands in the config already."""
    if isinstance(like, str):
        return None if text == "None" and key.endswith(OPTIONAL_TEXTS) else text
    if isinstance(like, bool):
        if text.lower() in ("true", "false", "1", "0"):
            return text.lower() in ("true", "1")
        raise UsageError(f"--config.{key} takes true or false, not '{text}'")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(like, tuple | list):
        if isinstance(value, str):
            return tuple(part for part in value.split(",") if part)
        return tuple(value) if isinstance(value, tuple | list) else (value,)
    if like is not None and type(value) is not type(like):
        raise UsageError(f"--config.{key} takes {type(like).__name__}, not '{text}'")
    return value


def taken_over(keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The keys of an encoder's config that still mean something once it is another encoder."""
    from avssl.models.registry import ENCODERS, NOT_FIELDS, encoder_fields

    if name not in ENCODERS:  # said later, with the nearest
        return dict(keys)
    known = {*NOT_FIELDS, *encoder_fields(ENCODERS[name])}
    if any(hasattr(ENCODERS.get(kind), "frontend") for kind in (name, keys.get("name", ""))):
        known -= {"frontend"}  # one of the two hears what other encoders do not
    return {key: value for key, value in keys.items() if key in known}


def frontend_taken_over(keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The keys of a front end that still mean something once it is another one."""
    from avssl.signal.frontends import FRONTENDS

    known = set()
    if name in FRONTENDS:  # else said later, with the nearest
        known = {field.name for field in dataclasses.fields(FRONTENDS[name])}
    return {"name": name, **{key: value for key, value in keys.items() if key in known}}


def wants_fraction(parts: list[str]) -> bool:
    """Whether the owner of a key of an objective or a view takes fractions there."""
    if parts[0] == "objectives":
        from avssl.objectives import objective_defaults

        return isinstance(objective_defaults(parts[1]).get(parts[-1]), float)
    if parts[0] == "views":
        from avssl.data.views import VIEWS

        return any(isinstance(getattr(cls, parts[-1], None), float) for cls in VIEWS.values())
    return False


def unknown_key(config: ConfigDict, dotted: str, missing: str) -> UsageError:
    return unknown("config key", missing if missing != dotted else dotted, flatten(config))
