"""The yardsticks in PyTorch, which only the extra `torch` brings."""

import importlib
from typing import Any

from avssl.errors import UsageError


def torch_yardstick(module: str) -> Any:
    """A module of this room that imports PyTorch; UsageError where that is not installed."""
    try:
        return importlib.import_module(f"avssl.bench.{module}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("--vs torch needs PyTorch: pip install 'avssl[torch]'") from error
