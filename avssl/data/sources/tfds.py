"""A data set in the TFDS layout with ArrayRecord shards: one that was built here, or another."""

import bisect
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from avssl.data.keys import digest_of_records
from avssl.data.local import LocalCache
from avssl.data.record import Record
from avssl.data.records import place_of
from avssl.data.sources.shards import digest_of_marks, stored_table, table_of_split
from avssl.data.sources.tfds_metadata import chosen_split, open_builder
from avssl.data.split_reader import SplitReader, SplitShards, check_all, check_some
from avssl.data.table import RecordTable
from avssl.errors import UsageError
from avssl.media.errors import MediaError


@dataclasses.dataclass(frozen=True)
class _Run:
    """Consecutive records of one shard that belong to the chosen split."""

    split: str
    shard: int  # its place among those of the split
    skip: int  # records of the shard before the first
    row: int  # the first one's row in its split's table
    length: int


class TfdsSource:
    """Records of a TFDS folder; `split` as TFDS writes it: `train`, `train[:90%]`, `train+test`.

    A store of this program has a side table, so that keys and labels need no media. Any other set
    that has a feature `media` (encoded bytes) can be read too; its keys (feature `key`, or
    SPLIT/POSITION) and labels are collected once and kept in `$AVSSL_CACHE`.

    Opening reads the metadata and the table, lists nothing, and compares a few shards with them; each of
    the others is compared when its first record is read, all of them by `check_shards`. A record that turns
    out damaged when it is read raises MediaError naming its shard and its place there.
    """

    def __init__(self, path: str, split: str | None = None, *, spec: str | None = None):
        self.spec = spec or f"tfds:{path}" + (f"@{split}" if split else "")
        root, split, builder = open_builder(path, split)
        self.root = root
        info = builder.info
        chosen = chosen_split(info.splits, split, root)
        shards = {
            name: SplitShards(
                root,
                name,
                tuple(os.path.basename(path) for path in info.splits[name].filenames),
                tuple(info.splits[name].shard_lengths),
            )
            for name in info.splits
        }
        self._runs = _runs(chosen.file_instructions, shards)
        if not self._runs:
            raise UsageError(f"split '{split}' of '{root}' holds no records")
        self._ends = np.cumsum([run.length for run in self._runs]).tolist()
        self._local: LocalCache | None = None
        stored = {
            name: stored_table(shards[name])
            for name in dict.fromkeys(run.split for run in self._runs)
        }
        self._shards = {name: _as_written(shards[name], table) for name, table in stored.items()}
        self._table: RecordTable | None = self._joined(stored)
        self._reader: SplitReader | None = None
        self.label_names = self._names(info.features)

    def _names(self, features) -> tuple[str, ...]:
        if self.table.label_names:
            return self.table.label_names
        names = getattr(features["label"], "names", None) if "label" in features else None
        if names:
            return tuple(names)
        # Labels are numbers without names: their digits are their names.
        highest = int(self.labels().max())
        if highest > 1_000_000:
            raise UsageError(f"'{self.root}': label {highest} is no class number")
        return tuple(str(number) for number in range(highest + 1))

    def __getstate__(self) -> dict[str, Any]:
        # A worker reads the table from the disk: it may be large, and files cannot travel.
        return {**self.__dict__, "_table": None, "_reader": None}

    @property
    def table(self) -> RecordTable:
        """The side table's rows of this source, in its order."""
        if self._table is None:
            self._table = self._joined(
                {name: stored_table(shards) for name, shards in self._shards.items()}
            )
        return self._table

    def _joined(self, stored: dict[str, RecordTable | None]) -> RecordTable:
        tables = {name: table_of_split(self._shards[name], stored[name]) for name in stored}
        return RecordTable.concatenate(
            [tables[run.split].rows(run.row, run.row + run.length) for run in self._runs]
        )

    def check_shards(self) -> None:
        """UsageError, naming the shard, where any is missing, cut, another set's, or one too many."""
        for shards in self._shards.values():
            check_all(shards)

    def keep_locally(self, cache: LocalCache) -> None:
        """Reads from now on through copies on the local disk."""
        self._local, self._reader = cache, None

    @functools.cached_property
    def fingerprint(self) -> str:
        table = self.table
        keys = (table.key(row) for row in range(len(table)))
        rows = zip(keys, table.label.tolist(), table.num_bytes.tolist(), strict=True)
        return digest_of_records(self.label_names, rows)

    @functools.cached_property
    def identity(self) -> str:
        contents = "".join(self._shards[run.split].content for run in self._runs)
        return hashlib.sha256(f"{self.fingerprint}{contents}".encode()).hexdigest()[:32]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Record:
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        place = bisect.bisect_right(self._ends, index)
        run = self._runs[place]
        position = run.skip + index - (self._ends[place] - run.length)
        if self._reader is None:
            self._reader = SplitReader(self._local)
        shards, key = self._shards[run.split], self.key(index)
        values = self._reader.read(shards, run.shard, position, key)
        where = place_of(shards.names[run.shard], position)
        media = values.get("media")
        if not isinstance(media, bytes):
            raise MediaError(f"{where} has no media")
        return Record(
            key=key,
            index=index,
            media=media,
            duration_seconds=values.get("duration_seconds"),
            has_video=_flag(values.get("has_video")),
            has_audio=_flag(values.get("has_audio")),
            label=int(self.labels()[index]),
            truth=_truth(values.get("truth"), where),
        )

    def key(self, index: int) -> str:
        return self.table.key(index)

    def labels(self) -> np.ndarray:
        return self.table.label

    def classes(self, index: int) -> Sequence[str] | None:
        """All classes of a record that has several; from the record itself where an older table has none."""
        if self.table.has_classes:
            return self.table.classes(index)
        return self[index].truth.get("classes")

    def ignored(self, index: int) -> Sequence[str]:
        """The classes that are ignored in a record; from the record itself where an older table has none."""
        if self.table.tells_ignored:
            return self.table.ignored(index)
        return self[index].truth.get("ignored", ())

    def durations(self) -> np.ndarray | None:
        return self.table.duration_seconds if self.table.has_facts else None

    def modalities(self) -> tuple[np.ndarray, np.ndarray] | None:
        if not self.table.has_facts:
            return None
        return self.table.has_video, self.table.has_audio


def _as_written(shards: SplitShards, table: RecordTable | None) -> SplitShards:
    """The shards with what their table says of them, some of them checked."""
    if table is None:
        # All of them are read below in any case, to see whether they are those of the last time.
        check_all(shards)
        return dataclasses.replace(shards, content=digest_of_marks(shards))
    marks = tuple(mark.tobytes() for mark in table.shard_marks)
    shards = dataclasses.replace(shards, marks=marks, content=table.digest())
    check_some(shards)
    return shards


def _truth(text: bytes | None, where: str) -> dict[str, Any]:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise MediaError(f"the truth of {where} is no JSON") from error


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _runs(instructions, shards: dict[str, SplitShards]) -> list[_Run]:
    found = {
        name: (split, place, row)
        for split, these in shards.items()
        for place, (name, row) in enumerate(zip(these.names, these.first_rows, strict=True))
    }
    runs = []
    for instruction in instructions:
        split, place, row = found[os.path.basename(instruction.filename)]
        skip, take = instruction.skip, instruction.take
        if take:
            runs.append(_Run(split, place, skip, row + skip, take))
    return runs
