"""The side table of a store: what is known about each record without reading its media."""

import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from avssl.data.keys import printable
from avssl.errors import UsageError

UNKNOWN = -1
_COLUMNS = ("label", "has_video", "has_audio", "duration_seconds", "num_bytes")


@dataclasses.dataclass(frozen=True)
class RecordTable:
    """One row per record, column by column; keys lie end to end in one array of UTF-8 bytes."""

    key_bytes: np.ndarray  # uint8
    key_ends: np.ndarray  # int64 [n]
    label: np.ndarray  # int32 [n]
    has_video: np.ndarray  # bool [n]
    has_audio: np.ndarray  # bool [n]
    duration_seconds: np.ndarray  # float32 [n]
    num_bytes: np.ndarray  # int64 [n]: of the media
    # Of records with several classes their numbers, UNKNOWN where nobody said, `ignored_number` of those that
    # the source ignores in the record; empty in older tables.
    class_numbers: np.ndarray  # int32
    class_ends: np.ndarray  # int64 [n]
    shard_marks: np.ndarray  # uint8 [shards, 32]: see avssl.data.records.shard_mark
    label_names: tuple[str, ...] = ()
    has_facts: bool = True  # False: nobody knows has_video and has_audio
    tells_ignored: bool = False  # False in older tables, which keep no ignored classes

    def __len__(self) -> int:
        return len(self.label)

    def key(self, row: int) -> str:
        start = self.key_ends[row - 1] if row else 0
        return self.key_bytes[start : self.key_ends[row]].tobytes().decode()

    @property
    def has_classes(self) -> bool:
        return len(self.class_ends) == len(self)

    def classes(self, row: int) -> tuple[str, ...] | None:
        """The names of all classes of a record that has several; None where nobody said which."""
        numbers = self._class_numbers(row)
        if UNKNOWN in numbers:
            return None
        return tuple(self.label_names[number] for number in numbers if number >= 0)

    def ignored(self, row: int) -> tuple[str, ...]:
        """The names of the classes that are ignored in a record."""
        numbers = map(ignored_number, self._class_numbers(row))
        return tuple(self.label_names[number] for number in numbers if number >= 0)

    def _class_numbers(self, row: int) -> list[int]:
        start = self.class_ends[row - 1] if row else 0
        return self.class_numbers[start : self.class_ends[row]].tolist()

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Sequence],
        *,
        classes: Sequence[Sequence[int]] = (),
        shard_marks: Sequence[bytes] = (),
        label_names: Iterable[str] = (),
        has_facts: bool = True,
    ) -> "RecordTable":
        """From rows of (key, label, has_video, has_audio, duration_seconds, num_bytes).

        classes: `class_numbers` of each of them.
        """
        keys, label, has_video, has_audio, duration, num_bytes = (
            zip(*rows, strict=True) if (rows := list(rows)) else ((),) * 6
        )
        encoded = [key.encode() for key in keys]
        return cls(
            key_bytes=np.frombuffer(b"".join(encoded), np.uint8),
            key_ends=np.cumsum([len(key) for key in encoded], dtype=np.int64),
            label=np.array(label, np.int32),
            has_video=np.array(has_video, bool),
            has_audio=np.array(has_audio, bool),
            duration_seconds=np.array(duration, np.float32),
            num_bytes=np.array(num_bytes, np.int64),
            class_numbers=np.array([number for numbers in classes for number in numbers], np.int32),
            class_ends=np.cumsum([len(numbers) for numbers in classes], dtype=np.int64),
            shard_marks=np.frombuffer(b"".join(shard_marks), np.uint8).reshape(-1, 32),
            label_names=tuple(label_names),
            has_facts=has_facts,
            tells_ignored=bool(classes),
        )

    def rows(self, start: int, stop: int) -> "RecordTable":
        """The rows from `start` up to `stop`, without the marks of the shards."""
        cut = {name: getattr(self, name)[start:stop] for name in _COLUMNS}
        cut["key_bytes"], cut["key_ends"] = _cut(self.key_bytes, self.key_ends, start, stop)
        if self.has_classes:
            cut["class_numbers"], cut["class_ends"] = _cut(
                self.class_numbers, self.class_ends, start, stop
            )
        return dataclasses.replace(self, shard_marks=self.shard_marks[:0], **cut)

    @classmethod
    def concatenate(cls, tables: "Sequence[RecordTable]") -> "RecordTable":
        if len(tables) == 1:
            return tables[0]
        joined = {name: np.concatenate([getattr(t, name) for t in tables]) for name in _COLUMNS}
        keys = _chain([(table.key_bytes, table.key_ends) for table in tables])
        told = tables if all(table.has_classes for table in tables) else [tables[0].rows(0, 0)]
        classes = _chain([(table.class_numbers, table.class_ends) for table in told])
        return cls(
            key_bytes=keys[0],
            key_ends=keys[1],
            class_numbers=classes[0],
            class_ends=classes[1],
            shard_marks=tables[0].shard_marks[:0],
            label_names=tables[0].label_names,
            has_facts=all(table.has_facts for table in tables),
            tells_ignored=all(table.tells_ignored for table in tables),
            **joined,
        )

    def digest(self) -> str:
        """Of what the shards were when it was written: keys, labels, sizes and marks."""
        digest = hashlib.sha256(json.dumps(self.label_names).encode())
        for field in dataclasses.fields(self):
            if isinstance(column := getattr(self, field.name), np.ndarray):
                digest.update(column.tobytes())
        return digest.hexdigest()[:32]

    def to_bytes(self) -> bytes:
        columns = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        names = json.dumps(columns.pop("label_names")).encode()
        buffer = io.BytesIO()
        np.savez(buffer, label_names=np.frombuffer(names, np.uint8), **columns)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: epath.Path) -> "RecordTable":
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as columns:
                older = {
                    "class_numbers": np.zeros(0, np.int32),
                    "class_ends": np.zeros(0, np.int64),
                    "tells_ignored": False,
                }
                names = [field.name for field in dataclasses.fields(cls)]
                fields = {
                    name: columns[name] if name in columns or name not in older else older[name]
                    for name in names
                }
            for name in ("has_facts", "tells_ignored"):
                fields[name] = bool(fields[name])
            fields["label_names"] = tuple(json.loads(fields["label_names"].tobytes()))
            if len({len(fields[name]) for name in ("key_ends", *_COLUMNS)}) > 1:
                raise ValueError("its columns differ in length")
        except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UsageError(
                f"{path} is damaged or no table of this program; build the data set again"
            ) from error
        return cls(**fields)


def class_numbers(truth: Mapping[str, Any], places: Mapping[str, int]) -> list[int]:
    """What the table keeps of the classes in a record's truth; `places`: of their names among all."""
    names, ignored = truth.get("classes"), truth.get("ignored", ())
    if stranger := next((name for name in (*(names or ()), *ignored) if name not in places), None):
        raise UsageError(
            f"the source has a record of class '{printable(stranger)}', which is none of its classes"
        )
    numbers = [UNKNOWN] if names is None else [places[name] for name in names]
    return numbers + [ignored_number(places[name]) for name in ignored]


def ignored_number(number: int) -> int:
    """What stands in `class_numbers` for a class that is ignored, below UNKNOWN; and the class again."""
    return UNKNOWN - 1 - number


def _cut(
    values: np.ndarray, ends: np.ndarray, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of values that lie end to end."""
    first = int(ends[start - 1]) if start else 0
    last = int(ends[stop - 1]) if stop else 0
    return values[first:last], ends[start:stop] - first


def _chain(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of several, one after the other."""
    offsets = np.cumsum([0, *(len(values) for values, _ in parts)])
    ends = [ends + offset for (_, ends), offset in zip(parts, offsets, strict=False)]
    return np.concatenate([values for values, _ in parts]), np.concatenate(ends)
