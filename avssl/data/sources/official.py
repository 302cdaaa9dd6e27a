"""What the readers of published data sets share: the official list says what the records are.

A video of the list that is not on disk is no record. It is counted and listed in `skipped`, and said
once, with the number that is left: a score on what is left has another denominator than a published one.
"""

import array
import dataclasses
import functools
import itertools
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from avssl.data.keys import digest_of_records, key_of_path, printable
from avssl.data.record import Record
from avssl.data.sources.files import identity_of_files, is_remote, join, media_at
from avssl.data.sources.stills import STILL, modalities_of_stills, still_at
from avssl.errors import UsageError
from avssl.media.pairing import paired

LOG = logging.getLogger("avssl")

NOT_ON_DISK = "not on disk"
NUM_NAMED = 3


@dataclasses.dataclass(slots=True)
class Row:
    """One record of an official list, as a reader found it.

    `file` is relative to the root, None where there is no record, for this `reason`. `sounds` are the
    files of the sound where picture and sound are files of their own. `classes` are those of data sets
    whose records have several, None where nobody said which; their `label` is -1.
    """

    key: str
    file: str | None
    where: str = ""  # the list and the line, for messages
    sounds: Sequence[str] = ()
    streams: Mapping[str, str] = dataclasses.field(default_factory=dict)  # further stills by name
    reason: str = NOT_ON_DISK
    label: int = -1
    classes: Sequence[int] | None = ()
    start_seconds: float = math.nan
    end_seconds: float = math.nan
    truth: Mapping[str, Any] | None = None


class OfficialSource:
    """Records of a published data set, in the order of its list.

    `skipped` names each entry of the list that is no record and why. Classes are those of the whole
    data set in its own order, whatever part of it is on disk, so that its splits number them alike.
    Where records have several, `truth["classes"]` holds their names (it is absent where they are not
    known); `avssl.data.record.class_sets` makes a matrix of them. `stills`: the files are pictures.
    """

    def __init__(
        self,
        spec: str,
        root: epath.Path,
        rows: Iterable[Row],
        label_names: Sequence[str] = (),
        *,
        listed_in: str,
        multi_label: bool = False,
        stills: bool = False,
    ):
        self.spec = spec
        self.root = str(root) if is_remote(str(root)) else os.path.abspath(root)
        self.stills = stills
        self.label_names = tuple(key_of_path(name) for name in label_names)
        self._read(rows, listed_in, multi_label)

    def _read(self, rows: Iterable[Row], listed_in: str, multi_label: bool) -> None:
        seen: dict[str, str] = {}
        keys, files, sounds, streams, truths, skipped = [], [], [], [], [], []
        labels, numbers, ends = array.array("i"), array.array("i"), array.array("q")
        spans, known = array.array("d"), array.array("b")
        for row in rows:
            key = key_of_path(row.key)
            if key in seen:
                skipped.append((key, f"{row.where} repeats {seen[key]}"))
                continue
            seen[key] = row.where
            if row.file is None:
                skipped.append((key, row.reason))
                continue
            keys.append(key)
            files.append(row.file)
            sounds.append(tuple(row.sounds))
            streams.append(dict(row.streams))
            labels.append(row.label)
            numbers.extend(row.classes or ())
            known.append(row.classes is not None)
            ends.append(len(numbers))
            spans.extend((row.start_seconds, row.end_seconds))
            truths.append(row.truth)
        self.skipped: tuple[tuple[str, str], ...] = tuple(skipped)
        _tell(self.spec, listed_in, len(seen), len(keys), skipped)
        self._keys, self._files = tuple(keys), tuple(files)
        self._sounds = tuple(sounds) if any(sounds) else ()
        self._streams = tuple(streams) if any(streams) else ()
        self._truths = tuple(truths) if any(truths) else ()
        self._labels = np.array(labels, np.int32)
        self._spans = np.array(spans).reshape(-1, 2)
        self._class_numbers = np.array(numbers, np.int32) if multi_label else None
        self._class_ends = np.array(ends, np.int64)
        self._classes_known = np.array(known, bool)

    @functools.cached_property
    def fingerprint(self) -> str:
        sizes = (
            (self._size(index), self._classes(index), *self._spans[index].tolist())
            for index in range(len(self))
        )
        rows = zip(self._keys, self._labels.tolist(), sizes, strict=True)
        return digest_of_records(self.label_names, rows)

    @functools.cached_property
    def identity(self) -> str:
        paths = itertools.chain.from_iterable(map(self._paths, range(len(self))))
        return identity_of_files(self.fingerprint, paths)

    def _paths(self, index: int) -> list[str]:
        """All files of a record."""
        sounds = self._sounds[index] if self._sounds else ()
        streams = self._streams[index].values() if self._streams else ()
        return [join(self.root, name) for name in (self._files[index], *sounds, *streams)]

    def _size(self, index: int) -> int:
        total = 0
        for path in self._paths(index):
            try:
                remote = is_remote(path)
                total += epath.Path(path).stat().length if remote else os.stat(path).st_size
            except OSError:
                return -1
        return total

    def _classes(self, index: int) -> tuple[int, ...] | None:
        """Of data sets whose records have several; None where they are not known."""
        if self._class_numbers is None:
            return ()
        if not self._classes_known[index]:
            return None
        start = int(self._class_ends[index - 1]) if index else 0
        return tuple(self._class_numbers[start : int(self._class_ends[index])].tolist())

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Record:
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        start, end = self._spans[index].tolist()
        read = still_at if self.stills else media_at
        media = read(self.root, self._files[index])
        if self._sounds and (sounds := self._sounds[index]):
            streams = self._streams[index] if self._streams else {}
            media = paired(
                media,
                *(media_at(self.root, sound) for sound in sounds),
                streams={name: media_at(self.root, file) for name, file in streams.items()},
            )
        return Record(
            key=self._keys[index],
            index=index,
            media=media,
            start_seconds=0.0 if math.isnan(start) else start,
            end_seconds=None if math.isnan(end) else end,
            label=int(self._labels[index]),
            truth=self.truth(index),
            **(STILL if self.stills else {}),
        )

    def truth(self, index: int) -> dict[str, Any]:
        """What `self[index].truth` holds, without reading the media."""
        truth = dict((self._truths[index] if self._truths else None) or {})
        if self._class_numbers is not None and (numbers := self._classes(index)) is not None:
            truth["classes"] = [self.label_names[number] for number in numbers]
        return truth

    def key(self, index: int) -> str:
        return self._keys[index]

    def labels(self) -> np.ndarray:
        return self._labels

    def modalities(self) -> tuple[np.ndarray, np.ndarray] | None:
        return modalities_of_stills(len(self)) if self.stills else None


def _tell(
    spec: str, listed_in: str, num_listed: int, num_left: int, skipped: Sequence[tuple[str, str]]
) -> None:
    if not num_listed:
        raise UsageError(f"{spec}: {listed_in} lists nothing")
    lost = [key for key, reason in skipped if reason == NOT_ON_DISK]
    names = printable(", ".join(lost[:NUM_NAMED])) + (", ..." if len(lost) > NUM_NAMED else "")
    if not num_left:
        why = f"is on disk ({names})" if lost else f"can be used ({skipped[0][1]})"
        raise UsageError(f"{spec}: none of the {num_listed} records that {listed_in} lists {why}")
    if lost:
        LOG.warning(
            "%s: %d of the %d records that %s lists are not on disk (%s); results are over %d",
            spec, len(lost), num_listed, listed_in, names, num_left,
        )  # fmt: skip
