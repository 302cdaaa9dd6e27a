"""Writing a store of targets, shard by shard."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avssl.data.cache import write_whole
from avssl.data.keys import printable
from avssl.data.shard_writer import OpenShard, ShardedWriter
from avssl.errors import UsageError
from avssl.teachers.encoding import Encoding
from avssl.teachers.store import LACKING, META, SPLIT, TABLE, UNREADABLE, VERSION, WRITTEN


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a teacher said of one record: an entry for each of its windows, or why there is none."""

    key: str
    windows: Sequence[Mapping[str, np.ndarray]] = ()
    state: int = WRITTEN


class TargetWriter(ShardedWriter):
    """A store of targets in the making; see `ShardedWriter`. `meta`: what the store says of itself."""

    last = META
    purpose = "store"

    def __init__(self, out: str, *, encoding: Encoding, meta: Mapping[str, Any], **arguments: Any):
        settings = {
            key: meta[key] for key in ("teacher_hash", "fingerprint", "every_seconds", "precision", "view")
        }  # fmt: skip
        settings |= {"encoding": encoding.to_json(), "version": VERSION}
        super().__init__(out, split=SPLIT, settings=settings, **arguments)
        self.encoding = encoding
        self.meta = dict(meta)
        self.record_bytes_guess = encoding.num_bytes

    def take(self, shard: OpenShard, outcome: Answers) -> None:
        num_bytes = 0
        for window, targets in enumerate(outcome.windows):
            entry = self.encoding.encode(outcome.key, window, targets)
            shard.writer.write(entry)
            num_bytes += len(entry)
        shard.remember("records", (len(outcome.windows), outcome.state, num_bytes))
        if outcome.state == UNREADABLE:
            shard.remember("unreadable", outcome.key)

    def finished_settings(self) -> Mapping[str, Any]:
        try:
            return json.loads((self.out / META).read_text())["settings"]
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"'{printable(str(self.out))}/{META}' is damaged; remove that folder and teach again"
            ) from error

    def size_so_far(self, note: Mapping[str, Any]) -> tuple[int, int]:
        rows = note.get("records", ())
        return len(rows), sum(row[-1] for row in rows)

    def finish(self) -> dict[str, Any] | None:
        """Writes the table and, last, what the store says of itself; None while other hosts write."""
        with self._told_plainly():
            if not self.complete and (notes := self.all_notes()) is not None:
                self._finish(notes)
            if not self.complete:
                return None
            return json.loads((self.out / META).read_text())

    def _finish(self, notes: Sequence[Mapping[str, Any]]) -> None:
        rows = [row for note in notes for row in note["records"]]
        num_windows, state, num_bytes = (np.array(column) for column in zip(*rows, strict=True))
        buffer = io.BytesIO()
        np.savez(buffer, num_windows=num_windows.astype(np.int32), state=state.astype(np.int8))
        write_whole(self.out / TABLE, buffer.getvalue())
        marks = [note["mark"] for note in notes]
        # Of what was asked and of what was answered, which rounds otherwise on another machine.
        asked = json.dumps([self._settings, marks], sort_keys=True)
        meta = {
            **self.meta,
            "hash": hashlib.sha256(asked.encode()).hexdigest()[:32],
            "encoding": self.encoding.to_json(),
            "num_records": self.num_records,
            "num_shards": self.num_shards,
            "shard_lengths": [sum(row[0] for row in note["records"]) for note in notes],
            "marks": marks,
            "num_windows": int(num_windows.sum()),
            "num_bytes": int(num_bytes.sum()),
            "num_lacking": int(np.sum(state == LACKING)),
            "unreadable": [key for note in notes for key in note.get("unreadable", ())],
            "settings": self._settings,
        }
        write_whole(self.out / META, json.dumps(meta, indent=1).encode())
        self.complete = True
        self._remove_work()
