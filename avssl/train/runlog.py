"""What a run leaves behind besides its checkpoints: config.json, metrics.jsonl, TensorBoard events.

Process 0 writes; on the others every call does nothing.
"""

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from avssl.console import warn
from avssl.train.disk_errors import why_not_written, write_error
from avssl.train.tensorboard import Events

METRICS = "metrics.jsonl"
CONFIG = "config.json"


class Lines:
    """A file of one JSON line a step, after those of the steps up to `last_step`: what is there of later ones
    is cut off first."""

    def __init__(self, path: Path, last_step: int):
        self.path = path
        with _explained(path, 0):
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut(path, last_step)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, row: Mapping[str, Any]) -> None:
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        length = os.fstat(self._file).st_size
        with _explained(self.path, len(line)):
            try:
                if os.write(self._file, line) != len(line):  # the disk took a part of it
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                # After a power cut no checkpoint has steps without lines; 4 ms on a busy disk.
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, length)
                raise

    def steps(self) -> list[int]:
        """Those that have a line."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        return [step for line in lines if (step := _step_of(line)) is not None]

    def close(self) -> None:
        os.close(self._file)


class RunLog:
    """One line per logged step. A resumed run writes the later steps again."""

    def __init__(self, folder: str | Path, resume_step: int = 0):
        self._path = Path(folder) / METRICS
        self._lines: Lines | None = None
        if jax.process_index() != 0:
            return
        self._lines = Lines(self._path, resume_step)
        with _explained(self._path, 0):
            self._events = Events(self._path.parent / "tensorboard", resume_step)

    def append(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers and words of one step; a number that is not finite becomes null."""
        if self._lines is None:
            return
        row = {"step": int(step)} | {key: _plain(value) for key, value in values.items()}
        self._lines.append(row)
        with _explained(self._path, 0):
            self._events.write(row)

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None
            with _explained(self._path.parent / "tensorboard", 0):
                self._events.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_config(folder: str | Path, config: Mapping[str, Any]) -> None:
    write_json(Path(folder) / CONFIG, config)


def write_json(path: Path, value: Any) -> None:
    """The whole file or none of it: a reader never sees a half."""
    if jax.process_index() == 0:
        _replace(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with _explained(path, len(content)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _cut(path: Path, last_step: int) -> None:
    """Keep the whole lines of the steps up to `last_step`."""
    if not path.exists():
        return
    content = path.read_bytes()
    kept = []
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        step = _step_of(line)
        if step is not None and step <= last_step:
            kept.append(line)
        elif step is None and number < len(lines):  # the last line may be torn by a kill
            warn(f"{path}:{number} is not a line of metrics and was dropped")
    if b"".join(kept) != content:
        _replace(path, b"".join(kept))


def _step_of(line: bytes) -> int | None:
    if not line.endswith(b"\n"):
        return None
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError):
        return None
    return step if isinstance(step, int) else None


def _plain(value: Any) -> Any:
    """JSON has no NaN, and parsers stop at the word. Exact: float32 survives the way through it."""
    if isinstance(value, (str, bool)) or value is None:
        return value
    number = np.asarray(value).item()
    return None if isinstance(number, float) and not math.isfinite(number) else number


@contextlib.contextmanager
def _explained(path: Path, num_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = why_not_written(error) or error.strerror
        if reason is None:
            raise
        raise write_error(f"cannot write {path}: {reason}", reason, num_bytes) from error
