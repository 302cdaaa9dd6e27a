"""A config with some of its keys changed."""

from collections.abc import Mapping
from typing import Any

from avssl.config import ConfigDict, from_json, override, resolve


def with_changes(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """changes: by dotted keys. The given config stays as it is."""
    changed = from_json(config.to_dict())
    override(changed, [(key, str(value)) for key, value in changes.items()])
    return resolve(changed)
