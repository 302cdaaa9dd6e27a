"""A record is one video; a source is an indexed collection of them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from avssl.data.keys import printable
from avssl.errors import UsageError
from avssl.media.errors import MediaError


@dataclasses.dataclass(frozen=True)
class Record:
    """One video and what is known about it.

    `media` is the encoded file: its bytes, or the path of it. The record is the part of that file between
    `start_seconds` and `end_seconds` (None: its end). `has_video`, `has_audio` and `duration_seconds`
    (of the record, not of the file) are None where nobody has opened the file yet. `label` is -1 where
    there is none. `truth` holds whatever else the source knows (captions, boxes, onsets ...); of data sets
    whose records have several classes `classes`, their names, with a `label` of -1; without `classes`
    nobody said which they are, and of classes in `ignored` not whether the record has them.
    """

    key: str
    index: int
    media: bytes | str
    start_seconds: float = 0.0
    end_seconds: float | None = None
    duration_seconds: float | None = None
    has_video: bool | None = None
    has_audio: bool | None = None
    label: int = -1
    truth: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """Random access to records. Cheap to pickle: it travels to worker processes and opens files there."""

    spec: str
    label_names: tuple[str, ...]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hex digest of what the data is (keys, labels, sizes): equal for equal data, wherever it lies."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...

    def key(self, index: int) -> str:
        """The record's key, without reading its media."""
        ...

    def labels(self) -> np.ndarray:
        """int32 [num_records], -1 where there is none; without reading any media."""
        ...

    def modalities(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(has_video, has_audio), bool [num_records] each, or None where nobody has opened the files yet."""
        ...


def identity_of(source: Source) -> str:
    """Hex digest of which files a source reads and when they were changed, as far as it can say.

    A fingerprint says what the data is: two files of equal name and size are equal to it.
    """
    return getattr(source, "identity", None) or source.fingerprint


def durations_of(source: Source) -> np.ndarray | None:
    """Seconds of each record, NaN where nobody knows; None if the source can say it of none."""
    find = getattr(source, "durations", None)
    return None if find is None else find()


def read_truth(source: Source, index: int) -> Mapping[str, Any]:
    """A record's truth, without reading its media where the source can; MediaError where it must and cannot."""
    read = getattr(source, "truth", None)
    return source[index].truth if read is None else read(index)


def truth_of(source: Source, index: int) -> Mapping[str, Any]:
    """The same for work that cannot do without this record: the error names it."""
    try:
        return read_truth(source, index)
    except MediaError as error:
        raise UsageError(
            f"nothing is known of '{printable(source.key(index))}' of {source.spec}, which is unreadable "
            f"({error}): remove it, or leave it out with `avssl data build {source.spec} OUT`"
        ) from error


def classes_of(source: Source, index: int) -> Sequence[str] | None:
    """All classes of a record that has several, without reading its media where the source can.

    None where nobody said, be it that the record is unreadable.
    """
    find = getattr(source, "classes", None)
    try:
        return read_truth(source, index).get("classes") if find is None else find(index)
    except MediaError:
        return None


def ignored_of(source: Source, index: int) -> Sequence[str]:
    """The classes that are ignored in a record, without reading its media where the source can."""
    find = getattr(source, "ignored", None)
    return truth_of(source, index).get("ignored", ()) if find is None else find(index)


def class_sets(source: Source, indices: np.ndarray) -> np.ndarray:
    """bool [len(indices), num_classes]: all classes of each record, one or several, or known to be none.

    A record of which nobody said is refused: it would look like one of no class.
    """
    sets, known = known_class_sets(source, indices)
    if not known.all():
        key = source.key(int(np.asarray(indices)[np.argmin(known)]))
        raise UsageError(f"nobody said of which classes '{printable(key)}' of {source.spec} is")
    return sets


def known_class_sets(source: Source, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the classes of each record, bool [len(indices), num_classes]; whether anybody said which)."""
    places = {name: place for place, name in enumerate(source.label_names)}
    labels = source.labels()
    sets = np.zeros((len(indices), len(places)), bool)
    known = np.ones(len(indices), bool)
    for row, index in enumerate(np.asarray(indices).tolist()):
        if labels[index] >= 0:
            sets[row, labels[index]] = True
        else:
            names = classes_of(source, index)
            known[row] = names is not None
            for name in names or ():
                sets[row, places[name]] = True
    return sets, known


def ignored_sets(source: Source, indices: np.ndarray) -> np.ndarray:
    """bool [len(indices), num_classes]: the classes that a record is no example of, nor of the rest."""
    places = {name: place for place, name in enumerate(source.label_names)}
    labels = source.labels()
    sets = np.zeros((len(indices), len(places)), bool)
    for row, index in enumerate(np.asarray(indices).tolist()):
        # One class that is known says all of a record.
        if labels[index] < 0:
            sets[row, [places[name] for name in ignored_of(source, index)]] = True
    return sets


def tags_of(source: Source, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which record has which class; of which that is known), bool [len(indices), num_classes] each."""
    sets, said = known_class_sets(source, indices)
    return sets, said[:, None] & ~ignored_sets(source, indices)
