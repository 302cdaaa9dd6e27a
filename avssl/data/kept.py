"""Where decoded records are kept between epochs: in memory, on disk, or not at all (`data.cache`).

An entry is a tuple of arrays that belongs to (record index, kind), where the kind names the decode
(frames of one size, sound of one rate and channel count). Nothing that is drawn is ever kept: the
window, the crop and the flip are cut from an entry anew each time, so no number depends on the
cache.
"""

import io
import os
import sys
import threading
from pathlib import Path

import numpy as np
from etils import epath

from avssl.data.cache import cache_folder, write_whole
from avssl.errors import UsageError, unknown

KINDS_OF_CACHE = ("memory", "disk", "none")
# Part of the folder's name on disk: raise it when the decode of the same file gives other numbers.
DECODE_VERSION = 1

Arrays = tuple[np.ndarray, ...]


class Cache:
    """Keeps nothing. The base of those that do: they count bytes and stop at a budget."""

    def __init__(self, budget_bytes: int = 0):
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._taken: dict[str, tuple[float, float]] = {}  # kind -> seconds and bytes so far
        self._said = False
        self._lock = threading.Lock()

    def get(self, index: int, kind: str, num_arrays: int) -> Arrays | None:
        return None

    def has_room(self, kind: str, seconds: float, guess_bytes_per_second: float) -> bool:
        """Whether a record of this length would fit, by what others took, else by the guess."""
        taken_seconds, taken_bytes = self._taken.get(kind, (0.0, 0.0))
        rate = taken_bytes / taken_seconds if taken_seconds else guess_bytes_per_second
        return self._fits(int(rate * seconds))

    def put(self, index: int, kind: str, arrays: Arrays, seconds: float) -> None:
        """Keeps the arrays if they fit."""
        num_bytes = sum(array.nbytes for array in arrays)
        with self._lock:
            taken_seconds, taken_bytes = self._taken.get(kind, (0.0, 0.0))
            self._taken[kind] = (taken_seconds + seconds, taken_bytes + num_bytes)
            if self._fits(num_bytes) and self._store(index, kind, arrays):
                self.used_bytes += num_bytes

    def _store(self, index: int, kind: str, arrays: Arrays) -> bool:
        raise TypeError(f"{type(self).__name__} keeps nothing")

    def _fits(self, num_bytes: int) -> bool:
        if self.used_bytes + num_bytes <= self.budget_bytes:
            return True
        if self.budget_bytes:
            self._say_full(f"a record no longer fits into its {self.budget_bytes / 1e9:.3g} GB")
        return False

    def _say_full(self, why: str) -> None:
        if not self._said:
            self._said = True
            _say(
                f"{why}, and what is not kept is decoded each time: raise data.cache_gigabytes, "
                f"read smaller views, or set data.cache=none{self._where()}"
            )

    def _where(self) -> str:
        return ""


class MemoryCache(Cache):
    """Entries in this process's memory."""

    def __init__(self, budget_bytes: int):
        super().__init__(budget_bytes)
        self._entries: dict[tuple[int, str], Arrays] = {}

    def get(self, index: int, kind: str, num_arrays: int) -> Arrays | None:
        return self._entries.get((index, kind))

    def _store(self, index: int, kind: str, arrays: Arrays) -> bool:
        # Two threads may have decoded the same record: the second must not be counted again.
        if (index, kind) in self._entries:
            return False
        self._entries[index, kind] = arrays
        return True


# NumPy parses a header with `ast`. In Python 3.11 that was seen to raise SystemError ("AST constructor
# recursion depth mismatch") while several threads read, once in some thirty runs: it seems to count
# for all of them together.
_one_header_at_a_time = threading.Lock()


class DiskCache(Cache):
    """Entries as .npy files below `$AVSSL_CACHE/decoded`, shared by all processes of a machine.

    The budget bounds that whole folder: one process of `num_processes` may add its share of what
    was left when it began.
    """

    def __init__(self, budget_bytes: int, identity: str, num_processes: int = 1):
        root = decoded_folder()
        there = sum(path.stat().st_size for path in root.rglob("*.npy"))
        super().__init__(max(0, budget_bytes - there) // num_processes)
        self.folder = root / f"{identity[:24]}-v{DECODE_VERSION}"
        if not self.budget_bytes:
            self._say_full(f"'{root}' holds {there / 1e9:.3g} GB already")

    def get(self, index: int, kind: str, num_arrays: int) -> Arrays | None:
        paths = [self._path(index, kind, number) for number in range(num_arrays)]
        try:
            with _one_header_at_a_time:
                return tuple(np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
        except FileNotFoundError:
            return None
        except (ValueError, EOFError):
            # Files appear whole, by rename: one of these was damaged later. Decoding again replaces
            # it.
            _say(f"'{paths[0].parent}' holds a damaged entry for record {index}; it is made anew")
            return None

    def _store(self, index: int, kind: str, arrays: Arrays) -> bool:
        try:
            for number, array in enumerate(arrays):
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                path = self._path(index, kind, number)
                write_whole(epath.Path(path), buffer.getvalue())
        except OSError as error:
            self._say_full(f"writing to '{self.folder}' failed ({error.strerror})")
            self.budget_bytes = 0
            return False
        return True

    def _path(self, index: int, kind: str, number: int) -> Path:
        return self.folder / kind / f"{index // 1000:06d}" / f"{index:09d}.{number}.npy"

    def _where(self) -> str:
        return f"; the folder '{decoded_folder()}' may be deleted at any time"


def decoded_folder() -> Path:
    """The folder of the disk cache, made if it is not there."""
    folder = os.fspath(cache_folder())
    if "://" in folder:
        raise UsageError(
            f"data.cache=disk needs a local folder, not '{folder}': set AVSSL_CACHE, or "
            "data.cache=memory"
        )
    root = Path(folder) / "decoded"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"data.cache=disk cannot write to '{root}' ({error.strerror}): set AVSSL_CACHE to a "
            "folder that you may write to, or data.cache=memory"
        ) from error
    return root


def make_cache(kind: str, gigabytes: float, identity: str, num_processes: int = 1) -> Cache:
    """The cache of one of `num_processes` processes, which share the budget.

    identity: of the source (`avssl.data.record.identity_of`), which names the folder on disk.
    """
    if kind not in KINDS_OF_CACHE:
        raise unknown("data.cache", kind, KINDS_OF_CACHE)
    budget = int(gigabytes * 1e9)
    if kind == "memory":
        return MemoryCache(budget // num_processes)
    if kind == "disk":
        return DiskCache(budget, identity, num_processes)
    return Cache()


def _say(message: str) -> None:
    print(f"data.cache: {message}", file=sys.stderr, flush=True)
