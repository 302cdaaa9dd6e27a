"""Configs from files: `--config FILE[:VARIANT]`, Python that may be wrong in any way, and a run's own."""

import importlib.machinery
import importlib.util
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avssl.config.tree import ConfigDict, from_json
from avssl.errors import AvsslError, UsageError, unknown


def load_config(argument: str) -> ConfigDict:
    """`FILE` or `FILE:VARIANT` to a config, by the file's `get_config(variant)`."""
    path, _, variant = argument.partition(":")
    file = Path(path)
    if not file.is_file():
        near = sorted(str(p) for p in Path("configs").rglob("*.py"))
        raise unknown("config file", path, near)
    try:
        get_config = function_in(file, "get_config")
        if get_config is None:
            raise UsageError(f"config file '{path}' has no function get_config(variant)")
        config = get_config(variant)
    except AvsslError:
        raise
    except Exception as error:
        raise UsageError(
            f"config file '{path}'{line_of(error, file)}: {words_of(error)}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise UsageError(
            f"config file '{path}': get_config must return a ConfigDict, not {config!r}"
        )
    return config


def function_in(file: Path, name: str) -> Callable[..., Any] | None:
    """The function of that name in a file of Python, whatever the file's extension."""
    loader = importlib.machinery.SourceFileLoader(f"avssl_config_{file.stem}", str(file))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    found = getattr(module, name, None)
    return found if callable(found) else None


def line_of(error: Exception, file: Path) -> str:
    """Where in the file it happened: the line that does not parse, or the last one that ran."""
    numbers = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == file
    ]  # fmt: skip
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == file:
        numbers = [error.lineno]
    return f", line {numbers[-1]}" if numbers else ""


def words_of(error: Exception) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {next(iter(message.splitlines()), '')}"


def run_config(workdir: Path) -> ConfigDict:
    """The config of a run folder."""
    file = workdir / "config.json"
    if not file.is_file():
        raise UsageError(
            f"{workdir} is no run folder: it has no config.json; see `avssl pretrain --help`"
        )
    try:
        return from_json(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UsageError(f"{file} is damaged: {error}") from error
