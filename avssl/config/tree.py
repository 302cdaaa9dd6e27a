"""A config is a `ConfigDict`; as flat keys, and as JSON."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class ConfigDict(dict[str, Any]):
        """What a type checker may know of a config: any attribute is a key."""

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...
        def to_dict(self) -> dict[str, Any]: ...
        def ignore_type(self) -> Any: ...

else:
    from ml_collections import ConfigDict


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values; an empty group stands for itself."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict | dict) and len(value):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain JSON types."""
    return json.loads(json.dumps(config.to_dict()))


def from_json(values: dict[str, Any]) -> ConfigDict:
    return ConfigDict(values)
