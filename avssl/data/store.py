"""Writing a store of media: any source becomes a TFDS data set, shard by shard."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from avssl.data.cache import write_whole
from avssl.data.keys import printable
from avssl.data.metadata import LAST, write_metadata
from avssl.data.records import StoredRecord, encode, table_name
from avssl.data.shard_writer import OpenShard, ShardedWriter
from avssl.data.table import RecordTable, class_numbers
from avssl.errors import UsageError

REPORT = "build_report.json"
# What builds are that do not state it.
FIRST_SETTINGS = {"video_format": "h264", "fps": None}


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A record that did not get into the store."""

    key: str
    reason: str


class StoreWriter(ShardedWriter):
    """A store in the making; use it as a context manager.

        with StoreWriter(out, ...) as store:
            for index in store.pending():
                store.add(index, record or Dropped(key, reason))
            store.finish()

    The metadata come last, so OUT is a complete data set or none.
    """

    last = LAST
    purpose = "build"
    record_bytes_guess = 200_000
    not_strange = (REPORT, "lost+found")
    unstated = FIRST_SETTINGS

    def __init__(self, out: str, *, label_names: Sequence[str], **arguments: Any):
        super().__init__(out, **arguments)
        self.label_names = tuple(label_names)
        self._places = {name: place for place, name in enumerate(self.label_names)}

    def take(self, shard: OpenShard, outcome: StoredRecord | Dropped) -> None:
        if isinstance(outcome, Dropped):
            shard.remember("dropped", (outcome.key, outcome.reason))
            return
        shard.writer.write(encode(outcome))
        shard.remember(
            "kept",
            (
                outcome.key,
                outcome.label,
                outcome.has_video,
                outcome.has_audio,
                outcome.duration_seconds,
                len(outcome.media),
            ),
        )
        shard.remember("classes", class_numbers(outcome.truth, self._places))

    def finished_settings(self) -> Mapping[str, Any]:
        if not (self.out / REPORT).exists():
            raise UsageError(
                f"'{printable(str(self.out))}' is a data set of another program; "
                "choose another folder"
            )
        return json.loads((self.out / REPORT).read_text())["settings"]

    def size_so_far(self, note: Mapping[str, Any]) -> tuple[int, int]:
        rows = note.get("kept", ())
        return len(rows), sum(row[-1] for row in rows)

    def finish(self, left_out: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """Writes table, report and metadata, and returns the report.

        `left_out` are (key, reason) of what the source itself passed over; the report names them
        with what was dropped. Where nothing was kept, the report is all that stays.
        """
        if self.complete:
            return json.loads((self.out / REPORT).read_text())
        notes = self.all_notes()
        assert notes is not None, "one host writes a data set"
        report = self._report(notes, left_out)
        with self._told_plainly():
            write_whole(self.out / REPORT, json.dumps(report, indent=1).encode())
            if not report["kept"]:
                self._remove_shards()
                self._remove_work()
                return report
            rows = [row for note in notes for row in note.get("kept", ())]
            marks = [bytes.fromhex(note["mark"]) for note in notes]
            classes = [numbers for note in notes for numbers in note.get("classes", ())]
            table = RecordTable.from_rows(
                rows,
                # A build that an older program began did not note them.
                classes=classes if len(classes) == len(rows) else (),
                shard_marks=marks,
                label_names=self.label_names,
            )
            write_whole(self.out / table_name(self.split), table.to_bytes())
            write_metadata(
                self.out,
                split=self.split,
                shard_lengths=[len(note.get("kept", ())) for note in notes],
                num_bytes=report["num_bytes"],
                label_names=self.label_names,
                description=f"Audio-visual clips, built from {printable(self.source)}",
            )
            self._remove_work()
        return report

    def _report(
        self, notes: Sequence[Mapping[str, Any]], left_out: Iterable[tuple[str, str]]
    ) -> dict[str, Any]:
        kept = [row for note in notes for row in note.get("kept", ())]
        dropped = [*left_out, *(pair for note in notes for pair in note.get("dropped", ()))]
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
