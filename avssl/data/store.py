"""Writing a store shard by shard, so that a killed build goes on where it stopped."""

import collections
import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from avssl.data.cache import write_whole
from avssl.data.keys import printable
from avssl.data.lock import folder_lock
from avssl.data.metadata import LAST, write_metadata
from avssl.data.records import ShardWriter, StoredRecord, shard_mark, shard_name, table_name
from avssl.data.storage import told_plainly
from avssl.data.table import RecordTable
from avssl.errors import UsageError

WORK = ".build"
REPORT = "build_report.json"
# ArrayRecord pads a shard to whole blocks of 64 KiB.
SHARD_OVERHEAD_BYTES = 2 * 65536
RECORD_BYTES_GUESS = 200_000


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A record that did not get into the store."""

    key: str
    reason: str


def default_num_shards(num_records: int) -> int:
    """A shard is what a kill can cost: some hundred records, fewer where there are few."""
    return max(1, min(num_records // 16, 8), -(-num_records // 256))


class StoreWriter:
    """A store in the making; use it as a context manager.

        with StoreWriter(out, ...) as store:
            for index in store.pending():
                store.add(index, record or Dropped(key, reason))
            store.finish()

    Each shard has its fixed range of records, whatever was dropped, so that a build that is taken
    up again gives the same shards. Finished shards and a note on each lie in OUT and OUT/.build;
    the metadata come last, so OUT is a complete data set or none. `complete` says that OUT was
    finished before, with the same settings; other settings are refused.
    """

    def __init__(
        self,
        out: str,
        *,
        split: str,
        num_records: int,
        num_shards: int,
        settings: Mapping[str, Any],
        label_names: Sequence[str],
        source: str,
        wait: bool = False,
    ):
        self.out = epath.Path(out).expanduser()
        self.source = source
        self.split = split
        self.num_records = num_records
        self.num_shards = num_shards
        self.label_names = tuple(label_names)
        self.complete = False
        shape = {"split": split, "num_records": num_records, "num_shards": num_shards}
        # Through JSON, as it will be compared with what was read from a file.
        self._settings = json.loads(json.dumps({**settings, **shape}))
        self._wait = wait
        self._work = self.out / WORK
        self._stack = contextlib.ExitStack()
        self._open: dict[int, _OpenShard] = {}
        self._notes: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> "StoreWriter":
        with self._stack, self._told_plainly():
            self._look_for_finished()
            if not self.complete:
                self._refuse_strangers()
                lock = folder_lock(self._work / "lock", what=str(self.out), wait=self._wait)
                self._stack.enter_context(lock)
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

    def pending(self) -> list[int]:
        """The records that are not in a finished shard, in order."""
        if self.complete:
            return []
        shards = (shard for shard in range(self.num_shards) if shard not in self._notes)
        return [index for shard in shards for index in range(*self._range(shard))]

    def add(self, index: int, outcome: StoredRecord | Dropped) -> None:
        """Takes what became of a record, in any order; a shard is written in the records' order."""
        shard = ((index + 1) * self.num_shards - 1) // self.num_records
        with self._told_plainly():
            if shard not in self._open:
                self._open[shard] = _OpenShard(
                    self._scratch / f"{shard:05d}.tmp", self._range(shard)
                )
            if self._open[shard].add(index, outcome):
                self._commit(shard)

    def finish(self, left_out: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """Writes table, report and metadata, and returns the report.

        `left_out` are (key, reason) of what the source itself passed over; the report names them
        with what was dropped. Where nothing was kept, the report is all that stays.
        """
        if self.complete:
            return json.loads((self.out / REPORT).read_text())
        notes = [self._notes[shard] for shard in range(self.num_shards)]
        report = self._report(notes, left_out)
        with self._told_plainly():
            write_whole(self.out / REPORT, json.dumps(report, indent=1).encode())
            if not report["kept"]:
                self._remove_shards()
                self._remove_work()
                return report
            rows = [row for note in notes for row in note["kept"]]
            marks = [bytes.fromhex(note["mark"]) for note in notes]
            table = RecordTable.from_rows(rows, shard_marks=marks, label_names=self.label_names)
            write_whole(self.out / table_name(self.split), table.to_bytes())
            write_metadata(
                self.out,
                split=self.split,
                shard_lengths=[len(note["kept"]) for note in notes],
                num_bytes=report["num_bytes"],
                label_names=self.label_names,
                description=f"Audio-visual clips, built from {printable(self.source)}",
            )
            self._remove_work()
        return report

    def _range(self, shard: int) -> tuple[int, int]:
        bounds = [(shard + step) * self.num_records // self.num_shards for step in (0, 1)]
        return bounds[0], bounds[1]

    def _told_plainly(self):
        return told_plainly(str(self.out), self._bytes_needed)

    def _bytes_needed(self) -> int:
        rows = [row for note in self._notes.values() for row in note["kept"]]
        rows += [row for shard in self._open.values() for row in shard.kept]
        each = sum(row[-1] for row in rows) // len(rows) if rows else RECORD_BYTES_GUESS
        shards = self.num_shards - len(self._notes)
        return len(self.pending()) * each + shards * SHARD_OVERHEAD_BYTES

    def _look_for_finished(self) -> None:
        if not (self.out / LAST).exists():
            return
        if not (self.out / REPORT).exists():
            raise UsageError(
                f"'{printable(str(self.out))}' is a data set of another program; "
                "choose another folder"
            )
        self._compare(json.loads((self.out / REPORT).read_text())["settings"], "was built")
        self.complete = True

    def _compare(self, other: Mapping[str, Any], was: str) -> None:
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
        ours = {REPORT, "lost+found"}
        for entry in self.out.iterdir():
            if entry.name not in ours and not entry.name.startswith("."):
                raise UsageError(
                    f"'{printable(str(self.out))}' is not empty (it holds "
                    f"'{printable(entry.name)}'); choose another folder"
                )

    def _take_up(self) -> None:
        path = self._work / "settings.json"
        if path.exists():
            self._compare(json.loads(path.read_text()), "holds an unfinished build")
        else:
            write_whole(path, json.dumps(self._settings).encode())
        if "://" in str(self.out):
            self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            self._scratch = Path(self._work)
            for folder in (self._scratch, Path(self.out)):
                for leftover in folder.glob("*.tmp"):
                    leftover.unlink()
        for shard in range(self.num_shards):
            note = self._note_path(shard)
            # The note is written after its shard is in place.
            if note.exists():
                self._notes[shard] = json.loads(note.read_text())

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
        note = {"kept": written.kept, "dropped": written.dropped, "mark": shard_mark(path).hex()}
        write_whole(self._note_path(shard), json.dumps(note).encode())
        self._notes[shard] = note
        del self._open[shard]

    def _report(
        self, notes: Sequence[Mapping[str, Any]], left_out: Iterable[tuple[str, str]]
    ) -> dict[str, Any]:
        kept = [row for note in notes for row in note["kept"]]
        dropped = [*left_out, *(pair for note in notes for pair in note["dropped"])]
        return {
            "source": self.source,
            "settings": self._settings,
            "kept": len(kept),
            "num_bytes": sum(row[-1] for row in kept),
            "without_video": sum(not row[2] for row in kept),
            "without_audio": sum(not row[3] for row in kept),
            "dropped": [{"key": key, "reason": reason} for key, reason in dropped],
            "dropped_by_reason": dict(collections.Counter(reason for _, reason in dropped)),
        }

    def _remove_shards(self) -> None:
        for shard in range(self.num_shards):
            (self.out / shard_name(self.split, shard, self.num_shards)).unlink(missing_ok=True)

    def _remove_work(self) -> None:
        if "://" not in str(self.out):
            # Another process that finds the build complete may be removing it, too.
            shutil.rmtree(self._work, ignore_errors=True)
        elif self._work.exists():
            self._work.rmtree()


class _OpenShard:
    """A shard that is being filled: outcomes may come early and wait for their turn."""

    def __init__(self, path: Path, span: tuple[int, int]):
        self.path = path
        self.writer = ShardWriter(str(path))
        self.kept: list[tuple] = []
        self.dropped: list[tuple[str, str]] = []
        self._next, self._stop = span
        self._early: dict[int, StoredRecord | Dropped] = {}

    def add(self, index: int, outcome: StoredRecord | Dropped) -> bool:
        """Whether the shard is full now."""
        self._early[index] = outcome
        while self._next in self._early:
            self._take(self._early.pop(self._next))
            self._next += 1
        return self._next == self._stop

    def _take(self, outcome: StoredRecord | Dropped) -> None:
        if isinstance(outcome, Dropped):
            self.dropped.append((outcome.key, outcome.reason))
            return
        self.writer.write(outcome)
        self.kept.append(
            (
                outcome.key,
                outcome.label,
                outcome.has_video,
                outcome.has_audio,
                outcome.duration_seconds,
                len(outcome.media),
            )
        )

    def abandon(self) -> None:
        # A writer that met a full disk says so again when it is closed; it was told already.
        with contextlib.suppress(RuntimeError, OSError):
            self.writer.close()
        self.path.unlink(missing_ok=True)
