"""Several sources as one: A*3+B."""

import bisect
import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avssl.data.record import (
    Record,
    Source,
    classes_of,
    durations_of,
    identity_of,
    ignored_of,
    read_truth,
)


class MixedSource:
    """The records of all parts, one part after the other.

    `parts` holds each source with its weight: how often it is drawn, which is the pipeline's
    business. Classes are joined by name; a class that two parts have is one class.
    """

    def __init__(self, parts: tuple[tuple[Source, float], ...], spec: str):
        self.spec = spec
        self.parts = parts
        self._ends = np.cumsum([len(source) for source, _ in parts]).tolist()
        names = dict.fromkeys(name for source, _ in parts for name in source.label_names)
        self.label_names = tuple(names)
        place = {name: label for label, name in enumerate(names)}
        # The last entry is for label -1, no label.
        self._renumber = [
            np.array([*(place[name] for name in source.label_names), -1], np.int32)
            for source, _ in parts
        ]

    @functools.cached_property
    def fingerprint(self) -> str:
        digests = "+".join(f"{source.fingerprint}*{weight!r}" for source, weight in self.parts)
        return hashlib.sha256(digests.encode()).hexdigest()[:32]

    @functools.cached_property
    def identity(self) -> str:
        parts = "+".join(identity_of(source) for source, _ in self.parts)
        return hashlib.sha256(parts.encode()).hexdigest()[:32]

    def __len__(self) -> int:
        return self._ends[-1]

    def _place(self, index: int) -> tuple[int, int]:
        """(part, index in that part) of a record."""
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        part = bisect.bisect_right(self._ends, index)
        return part, index - (self._ends[part - 1] if part else 0)

    def __getitem__(self, index: int) -> Record:
        part, inside = self._place(index)
        record = self.parts[part][0][inside]
        label = int(self._renumber[part][record.label])
        truth = self._renumbered(part, record.truth)
        return dataclasses.replace(record, index=int(index), label=label, truth=truth)

    def _renumbered(self, part: int, truth: Mapping[str, Any]) -> Mapping[str, Any]:
        """Objects with the classes of the mix: alone in a truth, they are known by their number."""
        numbers = self._renumber[part][:-1].tolist()
        if "objects" not in truth or numbers == list(range(len(numbers))):
            return truth
        things = [thing | {"class": numbers[thing["class"]]} for thing in truth["objects"]]
        return {**truth, "objects": things}

    def key(self, index: int) -> str:
        part, inside = self._place(index)
        return self.parts[part][0].key(inside)

    def truth(self, index: int) -> Mapping[str, Any]:
        part, inside = self._place(index)
        return self._renumbered(part, read_truth(self.parts[part][0], inside))

    def classes(self, index: int) -> Sequence[str] | None:
        part, inside = self._place(index)
        return classes_of(self.parts[part][0], inside)

    def ignored(self, index: int) -> Sequence[str]:
        part, inside = self._place(index)
        return ignored_of(self.parts[part][0], inside)

    def durations(self) -> np.ndarray | None:
        known = [durations_of(source) for source, _ in self.parts]
        if all(seconds is None for seconds in known):
            return None
        parts = zip(known, self.parts, strict=True)
        return np.concatenate(
            [
                np.full(len(source), np.nan) if seconds is None else seconds
                for seconds, (source, _) in parts
            ]
        )

    def labels(self) -> np.ndarray:
        return np.concatenate(
            [
                renumber[source.labels()]
                for (source, _), renumber in zip(self.parts, self._renumber, strict=True)
            ]
        )

    def modalities(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A part whose files nobody has opened yet counts as having all; None if none was opened."""
        known = [source.modalities() for source, _ in self.parts]
        if all(facts is None for facts in known):
            return None
        everything = [np.ones((2, len(source)), bool) for source, _ in self.parts]
        rows = [
            every if facts is None else facts
            for every, facts in zip(everything, known, strict=True)
        ]
        video, audio = zip(*rows, strict=True)
        return np.concatenate(video), np.concatenate(audio)
