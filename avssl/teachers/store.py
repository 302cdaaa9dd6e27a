"""Targets that `avssl teach` wrote: read by record index, and refused where they do not fit."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from avssl.data.keys import printable
from avssl.data.local import LocalCache
from avssl.data.record import Source
from avssl.data.records import shard_name
from avssl.data.shard_writer import WORK
from avssl.data.split_reader import SplitReader, SplitShards, check_some
from avssl.data.views import AudioView, VideoView, View, build_view
from avssl.errors import UsageError
from avssl.objectives.base import PLACED_KINDS
from avssl.teachers.encoding import Encoding
from avssl.teachers.spec import same_sight, told

SPLIT = "targets"
META = "targets.json"
TABLE = "targets.npz"
# Of the store's format; another one is refused.
VERSION = 1
# What became of a record.
WRITTEN, LACKING, UNREADABLE = 0, 1, 2


class TargetStore:
    """The targets of every record of a data set, window by window; cheap to pickle.

    Window w of a record begins at w * `every_seconds`; without it a record has one, of its middle.
    """

    def __init__(self, path: str):
        self.path = str(path)
        self.root = epath.Path(path).expanduser()
        self.meta = self._read_meta()
        self.teacher: str = self.meta["teacher"]
        self.teacher_hash: str = self.meta["teacher_hash"]
        self.hash: str = self.meta["hash"]
        self.every_seconds: float = self.meta["every_seconds"]
        classes = self.meta["classes"]
        self.classes: tuple[str, ...] | None = None if classes is None else tuple(classes)
        self.encoding = Encoding.from_json(self.meta["encoding"])
        self.view: View = build_view("of the teacher", self.meta["view"])
        self._loaded: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._local: LocalCache | None = None
        self._reader: SplitReader | None = None
        names = [
            shard_name(SPLIT, shard, self.meta["num_shards"])
            for shard in range(self.meta["num_shards"])
        ]
        self._shards = SplitShards(
            str(self.root),
            SPLIT,
            tuple(names),
            tuple(self.meta["shard_lengths"]),
            marks=tuple(map(bytes.fromhex, self.meta["marks"])),
            content=hashlib.sha256(json.dumps(self.meta).encode()).hexdigest()[:32],
        )
        check_some(self._shards)
        self._first_entries = np.array(self._shards.first_rows)
        if len(self._table[0]) != self.meta["num_records"]:
            raise UsageError(f"{self.root / TABLE} belongs to another store; write this one again")

    def _read_meta(self) -> dict[str, Any]:
        shown = printable(self.path)
        if not (self.root / META).exists():
            if (self.root / WORK).exists():
                raise UsageError(
                    f"'{shown}' is half-written; give the same `avssl teach` again to finish it"
                )
            raise UsageError(
                f"'{shown}' is no store of targets: it has no {META}; see `avssl teach --help`"
            )
        try:
            meta = json.loads((self.root / META).read_text())
            if lacking := {"encoding", "shard_lengths", "marks", "settings"} - meta.keys():
                raise KeyError(", ".join(sorted(lacking)))
            version = meta["settings"]["version"]
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"'{shown}/{META}' is damaged ({error}); write the store again"
            ) from error
        if version != VERSION:
            raise UsageError(
                f"'{shown}' is a store of format {version}, and this avssl reads format {VERSION}: write it "
                "again with `avssl teach`, or use the avssl that wrote it"
            )
        return meta

    def __getstate__(self) -> dict[str, Any]:
        # A worker reads the table from the disk: it may be large, and files cannot travel.
        return {**self.__dict__, "_loaded": None, "_reader": None}

    def keep_locally(self, cache: LocalCache) -> None:
        """Reads from now on through copies on the local disk."""
        self._local, self._reader = cache, None

    @property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(windows, what became of it, first entry) of each record."""
        if self._loaded is None:
            try:
                with (
                    (self.root / TABLE).open("rb") as file,
                    np.load(file, allow_pickle=False) as table,
                ):
                    num_windows, state = table["num_windows"], table["state"]
            except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
                raise UsageError(
                    f"{self.root / TABLE} is damaged; write the store again"
                ) from error
            ends = np.cumsum(num_windows, dtype=np.int64)
            self._loaded = num_windows, state, ends - num_windows
        return self._loaded

    @property
    def bytes_per_clip(self) -> float:
        """Of all windows of a record, on average over those of the data set."""
        return self.meta["num_bytes"] / self.meta["num_records"]

    @property
    def kind_of_windows(self) -> str:
        if self.every_seconds:
            return f"windows every {self.every_seconds:g} s"
        return "the middle of each record"

    def num_windows(self, index: int) -> int:
        """0 where the store has nothing of the record."""
        return int(self._table[0][index])

    def is_gap(self, index: int) -> bool:
        """Whether the store should have something of a record and has not: not if it lacks the modality."""
        return int(self._table[1][index]) == UNREADABLE

    def lacking(self, least_windows: int = 1) -> dict[str, int]:
        """How many records it says nothing of, by the reason, where so many windows are asked for at once."""
        num_windows, state, _ = self._table
        short = (state == WRITTEN) & (num_windows < least_windows)
        found = {
            f"without {self.view.modality}": state == LACKING,
            "that cannot be read": state == UNREADABLE,
            f"too short for {least_windows} windows": short,
        }
        return {reason: number for reason, rows in found.items() if (number := int(rows.sum()))}

    def read(
        self, index: int, window: int, key: str, kinds: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """float32 arrays by kind; MediaError where the entry is damaged or another one's."""
        entry = int(self._table[2][index]) + window
        shard = int(np.searchsorted(self._first_entries, entry, side="right")) - 1
        if self._reader is None:
            self._reader = SplitReader(self._local)
        position = entry - int(self._first_entries[shard])
        values = self._reader.read(self._shards, shard, position, key)
        return self.encoding.decode(values, key, window, kinds)

    def shapes(self, kinds: Sequence[str], view: View | None = None) -> dict[str, tuple[int, ...]]:
        """Of one clip's targets; a view of several windows has an axis of them where there is a grid."""
        axis = (view.windows,) if view and view.windows > 1 and self.every_seconds else ()
        return {kind: (*axis, *self.encoding.shapes[kind]) for kind in kinds}

    def check_data(self, source: Source) -> None:
        if self.meta["fingerprint"] != source.fingerprint:
            raise UsageError(
                f"'{printable(self.path)}' holds targets of {printable(self.meta['data'])} (fingerprint "
                f"{self.meta['fingerprint'][:12]}), which is not {printable(source.spec)} (fingerprint "
                f"{source.fingerprint[:12]}): write one with `avssl teach --data {printable(source.spec)}`"
            )

    def check_targets(self, name: str, kinds: Sequence[str]) -> None:
        if lacking := [kind for kind in kinds if kind not in self.encoding.shapes]:
            raise UsageError(
                f"teachers.{name}.targets asks for {lacking[0]}, and '{printable(self.path)}' holds "
                f"{', '.join(self.encoding.shapes)}: write it again with --targets"
            )

    def needs_view(self, kinds: Sequence[str]) -> bool:
        """Whether its targets are of a place in the record, and not of the whole of it."""
        return bool(self.every_seconds) or bool(placed(kinds))

    def check_view(self, name: str, view_name: str, view: View, kinds: Sequence[str]) -> None:
        """Refuses a student's view that shows another window than the teacher saw."""
        where = f"teachers.{name}: the student's view '{view_name}'"
        if not same_sight(view, self.view):
            raise UsageError(
                f"{where} is {told(view)}, and '{printable(self.path)}' was written from {told(self.view)}"
            )
        if not self.needs_view(kinds):
            return
        if view.windows > 1 and view.every_seconds and self.every_seconds and not placed(kinds):
            self.check_slots(where, view.every_seconds)
        elif view.windows > 1:
            raise UsageError(
                f"{where} has several windows, for which a store must hold embeddings or logits on a grid and "
                f"the view state every_seconds; '{printable(self.path)}' holds {self.kind_of_windows} and is "
                f"asked for {', '.join(kinds)}: write one with --every-seconds, or teach online"
            )
        if view.jitter_seconds or any(view.shift_seconds):
            raise UsageError(
                f"{where} is moved in time by itself (jitter_seconds, shift_seconds), and "
                f"'{printable(self.path)}' holds {self.kind_of_windows}: switch that off, or teach online"
            )
        if isinstance(view, VideoView) and view.projection == "sphere":
            raise UsageError(
                f"{where} looks in directions that are drawn anew, and '{printable(self.path)}' holds what was "
                "seen in others: teach online, or by embeddings of the middle of each record"
            )
        if not self.every_seconds and (view.window != "center" or view.align != "center"):
            raise UsageError(
                f"{where} is of any time, and {placed(kinds)} of '{printable(self.path)}' are of the middle of "
                "each record: set its window and align to center, or write the store with --every-seconds"
            )
        theirs = getattr(self.view.evaluation(), "crop", "")
        if placed(kinds) and isinstance(view, VideoView) and view.crop != theirs:
            raise UsageError(
                f"{where} is cropped otherwise (crop={view.crop}) than what {placed(kinds)} of "
                f"'{printable(self.path)}' are of, which cannot move beyond itself: set its crop to {theirs}, "
                "or teach online (flips move)"
            )
        if placed(kinds) and isinstance(view, AudioView) and view.mirrored_with is not None:
            raise UsageError(
                f"{where} is mirrored at random, and {placed(kinds)} of '{printable(self.path)}' are not: set "
                "its mirrored_with to '', or teach online"
            )
        if "attention" in kinds and isinstance(view, VideoView) and view.flip:
            raise UsageError(
                f"{where} is mirrored at random, and the attention of '{printable(self.path)}' is not: set its "
                "flip to False, or teach online"
            )

    def check_slots(self, where: str, every_seconds: float) -> None:
        stride = every_seconds / self.every_seconds
        if abs(stride - round(stride)) > 1e-6 * stride or round(stride) < 1:
            raise UsageError(
                f"{where} has windows every {every_seconds:g} s, which is no multiple of the "
                f"{self.every_seconds:g} s between those of '{printable(self.path)}': set every_seconds to "
                "one, or write the store with another --every-seconds"
            )


def placed(kinds: Sequence[str]) -> str:
    """Those that are places in the picture, for a person; empty without any."""
    return " and ".join(kind for kind in kinds if kind in PLACED_KINDS)
