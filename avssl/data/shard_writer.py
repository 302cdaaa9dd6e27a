"""Writing shards of records one by one, so that a killed writer goes on where it stopped."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from etils import epath

from avssl.data.cache import PARTIAL, write_whole
from avssl.data.keys import printable
from avssl.data.lock import folder_lock
from avssl.data.records import ShardWriter, shard_mark, shard_name
from avssl.data.storage import told_plainly
from avssl.errors import UsageError

WORK = ".build"
# ArrayRecord pads a shard to whole blocks of 64 KiB.
SHARD_OVERHEAD_BYTES = 2 * 65536


def default_num_shards(num_records: int) -> int:
    """A shard is what a kill can cost: some hundred records, fewer where there are few."""
    return max(1, min(num_records // 16, 8), -(-num_records // 256))


class ShardedWriter:
    """Shards in the making; use it as a context manager.

    Each shard has its fixed range of records, whatever becomes of them, so that a build that is
    taken up again gives the same shards. Finished shards and a note on each lie in OUT and
    OUT/.build; what a subclass writes in `finish` comes last, its file `last` at the very end, so
    OUT is complete or nothing. `complete` says that OUT was finished before, with the same
    settings; other settings are refused.

    Of several hosts, host 1 of 4 writes the shards 1, 5, 9 ...; whoever is last finishes.
    """

    last = ""  # without this file OUT is not complete
    purpose = "store"
    record_bytes_guess = 1000
    not_strange: tuple[str, ...] = ("lost+found",)  # files that OUT may hold before
    unstated: Mapping[str, Any] = MappingProxyType({})  # settings on which OUT may be silent

    def __init__(
        self,
        out: str,
        *,
        split: str,
        num_records: int,
        num_shards: int,
        settings: Mapping[str, Any],
        source: str,
        wait: bool = False,
        host: int = 0,
        num_hosts: int = 1,
    ):
        self.out = epath.Path(out).expanduser()
        self.source = source
        self.split = split
        self.num_records = num_records
        self.num_shards = num_shards
        self.complete = False
        shape = {"split": split, "num_records": num_records, "num_shards": num_shards}
        # Through JSON, as it will be compared with what was read from a file.
        self._settings = json.loads(json.dumps({**settings, **shape}))
        self._wait = wait
        self._host, self._num_hosts = host, num_hosts
        self._work = self.out / WORK
        self._stack = contextlib.ExitStack()
        self._open: dict[int, OpenShard] = {}
        self._notes: dict[int, dict[str, Any]] = {}

    def take(self, shard: "OpenShard", outcome: Any) -> None:
        """Writes what became of the next record of a shard, and notes it in `shard.note`."""
        raise TypeError(f"{type(self).__name__} takes nothing")

    def finished_settings(self) -> Mapping[str, Any]:
        """The settings of a complete OUT; UsageError where it is another program's."""
        raise TypeError(f"{type(self).__name__} reads no settings")

    def size_so_far(self, note: Mapping[str, Any]) -> tuple[int, int]:
        """(records, their bytes) of a note."""
        raise TypeError(f"{type(self).__name__} knows no sizes")

    def __enter__(self):
        with self._stack, self._told_plainly():
            self._look_for_finished()
            if not self.complete:
                self._refuse_strangers()
                # Each host of several has shards, and a lock, of its own; one that writes all has both.
                several = self._num_hosts > 1
                self._lock("lock", shared=several)
                if several:
                    self._lock(f"lock-{self._host}")
                # Whoever held the lock may have finished it.
                self._look_for_finished()
            if self.complete:
                self._remove_work()
            else:
                self._take_up()
            self._keep = self._stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        for shard in self._open.values():
            shard.abandon()
        self._keep.close()

    @property
    def own_shards(self) -> range:
        """The shards of this host."""
        return range(self._host, self.num_shards, self._num_hosts)

    @property
    def num_own_records(self) -> int:
        return sum(len(range(*self.bounds(shard))) for shard in self.own_shards)

    def pending_shards(self) -> list[int]:
        """The shards of this host that are not finished."""
        if self.complete:
            return []
        return [shard for shard in self.own_shards if shard not in self._notes]

    def pending(self) -> list[int]:
        """The records of this host that are not in a finished shard, in order."""
        return [index for shard in self.pending_shards() for index in range(*self.bounds(shard))]

    def add(self, index: int, outcome: Any) -> None:
        """Takes what became of a record, in any order; a shard is written in the records' order."""
        shard = ((index + 1) * self.num_shards - 1) // self.num_records
        with self._told_plainly():
            if shard not in self._open:
                self._open[shard] = OpenShard(
                    self._scratch / f"{shard:05d}.tmp", self.bounds(shard)
                )
            if self._open[shard].add(index, outcome, self.take):
                self._commit(shard)

    def bounds(self, shard: int) -> tuple[int, int]:
        """The first record of a shard, and the first of the next one."""
        first, stop = [
            (shard + step) * self.num_records // self.num_shards for step in (0, 1)
        ]  # fmt: skip
        return first, stop

    def all_notes(self) -> list[dict[str, Any]] | None:
        """The notes on all shards; None while other hosts have some to write."""
        self._read_notes()
        if len(self._notes) < self.num_shards:
            self._look_for_finished()
            return None
        return [self._notes[shard] for shard in range(self.num_shards)]

    def _lock(self, name: str, *, shared: bool = False) -> None:
        path = self._work / name
        lock = folder_lock(path, what=str(self.out), wait=self._wait, shared=shared)
        self._stack.enter_context(lock)

    def _told_plainly(self):
        return told_plainly(str(self.out), self._bytes_needed)

    def _bytes_needed(self) -> int:
        notes = [*self._notes.values(), *(shard.note for shard in self._open.values())]
        sizes = [self.size_so_far(note) for note in notes]
        num, num_bytes = (sum(column) for column in zip(*sizes, strict=True)) if sizes else (0, 0)
        each = num_bytes // num if num else self.record_bytes_guess
        shards = self.num_shards - len(self._notes)
        return len(self.pending()) * each + shards * SHARD_OVERHEAD_BYTES

    def _look_for_finished(self) -> None:
        if not (self.out / self.last).exists():
            return
        self._compare(self.finished_settings(), "was built")
        self.complete = True

    def _compare(self, other: Mapping[str, Any], was: str) -> None:
        unstated = {key: value for key, value in self.unstated.items() if key in self._settings}
        other = {**unstated, **other}
        differing = [
            key for key in {**self._settings, **other} if self._settings.get(key) != other.get(key)
        ]
        if differing:
            key = differing[0]
            difference = (
                f"with other settings ({key}: {other.get(key)}, now {self._settings.get(key)})"
            )
            if "fingerprint" in differing:
                difference = f"from other data than {printable(self.source)} holds now"
            raise UsageError(
                f"'{printable(str(self.out))}' {was} {difference}; "
                "choose another folder, or remove that one"
            )

    def _refuse_strangers(self) -> None:
        """A folder with files of somebody else is no place to build in."""
        if not self.out.exists() or self._work.exists():
            return
        for entry in self.out.iterdir():
            if entry.name not in self.not_strange and not entry.name.startswith("."):
                raise UsageError(
                    f"'{printable(str(self.out))}' is not empty (it holds "
                    f"'{printable(entry.name)}'); choose another folder"
                )

    def _take_up(self) -> None:
        path = self._work / "settings.json"
        if path.exists():
            self._compare(json.loads(path.read_text()), f"holds an unfinished {self.purpose}")
        else:
            write_whole(path, json.dumps(self._settings).encode())
        if "://" in str(self.out):
            self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            self._scratch = Path(self._work)
            self._remove_leftovers()
        self._read_notes()

    def _remove_leftovers(self) -> None:
        if self._num_hosts > 1:  # the others are writing
            for shard in self.own_shards:
                (self._scratch / f"{shard:05d}.tmp").unlink(missing_ok=True)
            return
        for leftover in self._scratch.glob("*.tmp"):
            leftover.unlink()
        # Here others may have files of any name.
        for leftover in Path(self.out).iterdir():
            if PARTIAL.fullmatch(leftover.name):
                leftover.unlink()

    def _read_notes(self) -> None:
        for shard in range(self.num_shards):
            if shard not in self._notes:
                # The note is written after its shard is in place. Another host may have finished
                # everything meanwhile, and removed it.
                with contextlib.suppress(FileNotFoundError):
                    self._notes[shard] = json.loads(self._note_path(shard).read_text())

    def _note_path(self, shard: int) -> epath.Path:
        return self._work / f"{shard_name(self.split, shard, self.num_shards)}.json"

    def _commit(self, shard: int) -> None:
        written = self._open[shard]
        written.writer.close()
        path = self.out / shard_name(self.split, shard, self.num_shards)
        if "://" in str(self.out):
            epath.Path(written.path).copy(path, overwrite=True)
            written.path.unlink()
        else:
            os.replace(written.path, path)
        note = {**written.note, "mark": shard_mark(path).hex()}
        write_whole(self._note_path(shard), json.dumps(note).encode())
        self._notes[shard] = note
        del self._open[shard]

    def _remove_shards(self) -> None:
        for shard in range(self.num_shards):
            (self.out / shard_name(self.split, shard, self.num_shards)).unlink(missing_ok=True)

    def _remove_work(self) -> None:
        if "://" not in str(self.out):
            # Another process that finds the build complete may be removing it, too.
            shutil.rmtree(self._work, ignore_errors=True)
        elif self._work.exists():
            self._work.rmtree()


class OpenShard:
    """A shard that is being filled: outcomes may come early and wait for their turn.

    `note`: what a writer wants to know of the shard later, lists by name.
    """

    def __init__(self, path: Path, span: tuple[int, int]):
        self.path = path
        self.writer = ShardWriter(str(path))
        self.note: dict[str, list[Any]] = {}
        self._next, self._stop = span
        self._early: dict[int, Any] = {}

    def add(self, index: int, outcome: Any, take: Callable[["OpenShard", Any], None]) -> bool:
        """Whether the shard is full now."""
        self._early[index] = outcome
        while self._next in self._early:
            take(self, self._early.pop(self._next))
            self._next += 1
        return self._next == self._stop

    def remember(self, name: str, entry: Any) -> None:
        self.note.setdefault(name, []).append(entry)

    def abandon(self) -> None:
        # A writer that met a full disk says so again when it is closed; it was told already.
        with contextlib.suppress(RuntimeError, OSError):
            self.writer.close()
        self.path.unlink(missing_ok=True)
