"""Records of shards far away, kept on the local disk up to a bound (`data.local_cache`).

Each is a file of its own, below the digest of its data set: what a run asks for is what is fetched, in whatever
order, and any number of processes share the folder. What is kept is what was read: no number depends on it.
"""

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epath

from avssl.console import warn
from avssl.data.cache import PARTIAL, write_whole
from avssl.data.keys import printable
from avssl.data.lock import try_lock
from avssl.errors import UsageError

# In the folder that the user names, which may hold other things.
INSIDE = "avssl-records"
DIGEST_BYTES = 32
# What is taken out at once, as a share of the bound: a look at all files is worth more than one.
ROOM_SHARE = 0.1
# Of a full cache that holds nothing but this run's, how long nobody looks again.
PATIENCE_SECONDS = 600.0
# What a killed process left half-written.
LEFTOVER_SECONDS = 3600.0
# File systems keep time more coarsely than the clock.
CLOCK_SECONDS = 2.0


class LocalCache:
    """At most `gib` GiB of records in a folder.

    Room is made by taking out what was used longest ago, but nothing that was used since this cache was
    opened: an epoch comes to every record once, in a new order, and whoever gives up one of its records for
    another finds fewer of them the next time round.

    A disk that fails is said once; records are then read from where they lie.
    """

    def __init__(self, folder: str, gib: float):
        if "://" in folder:
            raise UsageError(f"data.local_cache must be a local folder, not '{printable(folder)}'")
        self.root = Path(folder).expanduser().absolute() / INSIDE
        self.bound_bytes = int(gib * 2**30)
        self.opened_at = time.time() - CLOCK_SECONDS
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            write_whole(epath.Path(self.root / "about"), b"Copies; may be deleted at any time.\n")
        except OSError as error:
            raise UsageError(
                f"data.local_cache cannot write to '{printable(folder)}' ({error.strerror}): choose a folder "
                "that you may write to, or set data.local_cache=None"
            ) from error
        self._start()

    def _start(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._closed_until = 0.0
        self._said: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("root", "bound_bytes", "opened_at")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def get(self, shard: str, position: int) -> bytes | None:
        """The record at that position of a shard, if it is here and as it was written."""
        path = self._path(shard, position)
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say("read", f"reading from '{self.root}' failed ({error.strerror})")
            return None
        digest, record = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(record).digest() != digest:
            self._say("damaged", f"'{path}' is damaged and is fetched anew")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return record

    def put(self, shard: str, position: int, record: bytes) -> None:
        """Keeps a record if there is room, or room can be made."""
        if time.monotonic() < self._closed_until:
            return
        content = hashlib.sha256(record).digest() + record
        try:
            if self._reserve(len(content)):
                write_whole(epath.Path(self._path(shard, position)), content)
        except OSError as error:
            self._closed_until = float("inf")
            self._say(
                "write", f"writing to '{self.root}' failed ({error.strerror}), so nothing is added to it: "
                "make room there, or lower data.local_cache_gib",
            )  # fmt: skip

    def _path(self, shard: str, position: int) -> Path:
        """Below the folder: a shard is known by what tells its set from others, and its number."""
        if not re.fullmatch(r"\w+/\d+", shard):
            raise ValueError(f"'{shard}' names no shard's content")
        return self.root / shard / f"{position:05d}"

    def _reserve(self, num_bytes: int) -> bool:
        """Counts the bytes as used if they fit. Who would have to wait for another process need not keep."""
        if not self._one_at_a_time.acquire(blocking=False):
            return False
        try:
            with try_lock(self.root / "lock") as mine:
                if not mine:
                    return False
                used = self._used()
                if used + num_bytes > self.bound_bytes:
                    used = self._make_room(num_bytes)
                if fits := used + num_bytes <= self.bound_bytes:
                    used += num_bytes
                else:
                    self._closed_until = time.monotonic() + PATIENCE_SECONDS
                write_whole(epath.Path(self.root / "used"), str(used).encode())
                return fits
        finally:
            self._one_at_a_time.release()

    def _used(self) -> int:
        """By what was counted; by a look at all files where nobody counted."""
        try:
            return int((self.root / "used").read_text())
        except (FileNotFoundError, ValueError):
            return sum(size for _, size, _ in self._entries())

    def _make_room(self, num_bytes: int) -> int:
        """Takes out what was used longest ago, and returns the bytes that are left."""
        entries = sorted(self._entries())
        used = sum(size for _, size, _ in entries)
        wanted = self.bound_bytes * (1 - ROOM_SHARE) - num_bytes
        for used_at, size, path in entries:
            if used <= wanted or used_at >= self.opened_at:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            used -= size
        return used

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """(time of the last use, bytes, path) of each record."""
        long_ago = time.time() - LEFTOVER_SECONDS
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    found = os.stat(path)
                    if PARTIAL.fullmatch(name) and found.st_mtime < long_ago:
                        os.unlink(path)
                    elif re.fullmatch(r"\d+", name):
                        yield found.st_mtime, found.st_size, path

    def _say(self, kind: str, what: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            warn(f"data.local_cache: {what}")


def keep_locally(source: Any, cache: LocalCache) -> None:
    """Lets a source keep its records; those of a mix that are built data sets do."""
    able = [
        part
        for part, _ in getattr(source, "parts", ((source, 1.0),))
        if hasattr(part, "keep_locally")
    ]
    if not able:
        raise UsageError(
            f"data.local_cache keeps records of built data sets, and {printable(source.spec)} is none: write "
            "it with `avssl data build`, or set data.local_cache=None"
        )
    for part in able:
        part.keep_locally(cache)
