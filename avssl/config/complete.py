"""Every default of every view, encoder, objective and teacher written in."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from avssl.config.check import check
from avssl.config.defaults import OPEN_SECTIONS, base
from avssl.config.tree import ConfigDict, flatten
from avssl.errors import UsageError, unknown

# Of encoders that name none of their own.
USUAL_FRONTENDS = {"video": "rgb", "audio": "log_mel"}


def resolve(config: ConfigDict, *, trains: bool = True) -> ConfigDict:
    """The complete, checked config: every default of every view, encoder and objective written in.

    trains: False of encoders that came without a run and that nothing trains, which need no objective.
    """
    from avssl.objectives import objective_defaults
    from avssl.teachers.spec import build_specs

    known = flatten(base())
    for key in flatten(config):
        free = key.split(".")[0] in OPEN_SECTIONS or key.startswith("optimizer.arguments.")
        if not free and key not in known:
            raise unknown("config key", key, known)
    config = ConfigDict(config.to_dict())
    for name, view in list(config.views.items()):
        config.views[name] = view_keys(name, view)
    for name, encoder in list(config.encoders.items()):
        keys = encoder.to_dict()
        complete = encoder_defaults(name, keys)
        check_frontend(name, complete["frontend"])
        config.encoders[name] = ConfigDict({**complete, **keys, "frontend": complete["frontend"]})
    for name, keys in list(config.objectives.items()):
        defaults = objective_defaults(name)
        for key in keys:
            if key not in defaults:
                raise unknown(f"key of objective '{name}'", key, defaults)
        config.objectives[name] = ConfigDict({**defaults, **keys.to_dict()})
    for name, spec in build_specs(config).items():
        config.teachers[name] = ConfigDict(dataclasses.asdict(spec))
    check(config, trains=trains)
    return config


def view_keys(name: str, view: ConfigDict) -> ConfigDict:
    """The complete keys of `views.NAME`; whether it may name another view, `check` looks at all of them."""
    from avssl.data.views import NAMED_VIEWS, build_view

    own = view.to_dict()
    named = {
        key: own.pop(key, "")
        for key, modality in NAMED_VIEWS.items()
        if own.get("modality") == modality
    }
    built = build_view(name, own)
    return ConfigDict({"modality": built.modality, **dataclasses.asdict(built), **named})


def encoder_defaults(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The complete keys of `encoders.NAME` for the encoder and the front end that it names."""
    from avssl.models.registry import ENCODERS, encoder_fields
    from avssl.signal.frontends import FRONTENDS

    kind = config.get("name")
    if kind not in ENCODERS:
        raise unknown(f"encoder in encoders.{name}.name", str(kind), ENCODERS)
    modality = ENCODERS[kind].modality
    default = usual_frontend(ENCODERS[kind])
    frontend = dict(config.get("frontend", {}))
    if frontend.setdefault("name", default["name"]) == default["name"]:
        frontend = {**default, **frontend}
    if frontend["name"] not in FRONTENDS:
        raise unknown(f"front end of encoders.{name}", frontend["name"], FRONTENDS)
    # An encoder of another modality than its config says is a mistake that `build_encoder` tells of.
    meant = config.get("modality", modality) == modality
    if meant and FRONTENDS[frontend["name"]].modality != modality:
        fitting = ", ".join(key for key, cls in FRONTENDS.items() if cls.modality == modality)
        raise UsageError(
            f"encoders.{name}.frontend.name={frontend['name']} is not for {modality}, which the encoder "
            f"'{kind}' takes: give one of {fitting}"
        )
    known = {field.name: field.default for field in dataclasses.fields(FRONTENDS[frontend["name"]])}
    for key in frontend:
        if key != "name" and key not in known:
            raise unknown(f"key of encoders.{name}.frontend", key, known)
    fields = encoder_fields(ENCODERS[kind])
    return {"modality": modality, **fields, "frontend": {**known, **frontend}}


def usual_frontend(encoder: Any) -> Mapping[str, Any]:
    """The front end of an encoder whose config names none, with the keys that differ from its defaults."""
    return getattr(encoder, "frontend", {"name": USUAL_FRONTENDS[encoder.modality]})


def check_frontend(name: str, keys: Mapping[str, Any]) -> None:
    """Refuses values of `encoders.NAME.frontend` that no front end can have."""
    from avssl.signal.frontends import build_frontend

    try:
        build_frontend(keys)
    except UsageError as error:
        raise UsageError(f"encoders.{name}.frontend: {error}") from error
