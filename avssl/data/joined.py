"""What teachers said of the records, joined to the rows of a batch by record index."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from avssl.data.placement import is_mirrored, share_of_room
from avssl.data.record import Source
from avssl.data.views import View
from avssl.errors import UsageError
from avssl.media.errors import MediaError

NONE = -1


class Store(Protocol):
    """Targets by record index; cheap to pickle."""

    every_seconds: float

    def num_windows(self, index: int) -> int: ...
    def is_gap(self, index: int) -> bool: ...
    def read(
        self, index: int, window: int, key: str, kinds: Sequence[str]
    ) -> dict[str, np.ndarray]: ...


@dataclasses.dataclass(frozen=True)
class Join:
    """One teacher's store in a pipeline: the kinds that are read, with their shapes.

    view: what the teacher saw, where its targets are of that window: windows of its anchor are then
    drawn from the store's grid, and maps are mirrored with it. A view of several windows at fixed distances
    is told of each of them.
    """

    store: Store
    shapes: Mapping[str, tuple[int, ...]]
    view: View | None = None

    @property
    def on_grid(self) -> bool:
        return self.view is not None and self.store.every_seconds > 0

    @property
    def slots(self) -> range:
        """The windows of the store that are told of at once, counted from the first of them."""
        if not self.on_grid or self.view is None or self.view.windows == 1:
            return range(1)
        stride = round((self.view.every_seconds or 0.0) / self.store.every_seconds)
        return range(0, self.view.windows * stride, stride)

    def num_starts(self, index: int) -> int:
        """How many windows of a record may be the first of all slots."""
        return max(0, self.store.num_windows(index) - self.slots[-1])

    def read(self, index: int, first: int, key: str) -> dict[str, np.ndarray]:
        slots = [
            self.store.read(index, first + slot, key, tuple(self.shapes)) for slot in self.slots
        ]
        if len(slots) == 1:
            return slots[0]
        return {kind: np.stack([slot[kind] for slot in slots]) for kind in self.shapes}


@dataclasses.dataclass(frozen=True)
class Windows:
    """Which window of its store each teacher speaks of, and where views must begin for it.

    mirrored: the teachers whose maps or boxes are of a picture that is mirrored.
    """

    numbers: Mapping[str, int]
    starts: Mapping[View, float]
    mirrored: frozenset[str]


def check_joins(joins: Mapping[str, Join]) -> None:
    """Refuses grids that no common window could lie on."""
    grids: dict[str, tuple[str, float]] = {}
    for name, join in joins.items():
        if join.on_grid:
            assert join.view is not None
            other, every = grids.setdefault(join.view.anchor, (name, join.store.every_seconds))
            if every != join.store.every_seconds:
                raise UsageError(
                    f"teachers '{other}' and '{name}' speak of windows every {every:g} s and every "
                    f"{join.store.every_seconds:g} s of one anchor '{join.view.anchor}': give the view of one "
                    "of them another anchor, or write its store with the other's --every-seconds"
                )


def draw_windows(
    joins: Mapping[str, Join],
    index: int,
    windows: Mapping[str, tuple[str, float]],
    *,
    seed: int,
    position: int,
) -> Windows:
    """The window of each gridded store, one for all that share an anchor; the first of the others.

    Drawn as the window of an anchor and the flip of a picture are, so that neither hosts nor workers
    change it. A record that one store of an anchor has nothing of is placed by the others.
    """
    counts: dict[str, int] = {}
    for join in joins.values():
        if join.on_grid and (count := join.num_starts(index)):
            assert join.view is not None
            counts[join.view.anchor] = min(counts.get(join.view.anchor, count), count)
    chosen = {
        anchor: min(int(share_of_room(windows[anchor][0], anchor, seed, position) * count), count - 1)
        for anchor, count in counts.items()
    }  # fmt: skip
    numbers, starts = {}, {}
    for name, join in joins.items():
        numbers[name] = 0
        if join.on_grid and join.view is not None and join.view.anchor in chosen:
            numbers[name] = chosen[join.view.anchor]
            starts[join.view] = numbers[name] * join.store.every_seconds
    mirrored = frozenset(
        name
        for name, join in joins.items()
        if MIRRORED.keys() & join.shapes and join.view and is_mirrored(join.view, seed, position)
    )
    return Windows(numbers, starts, mirrored)


def mirrored_map(array: np.ndarray) -> np.ndarray:
    """[time, height, width, channels]."""
    return array[:, :, ::-1]


def mirrored_boxes(array: np.ndarray) -> np.ndarray:
    """[n, 6]: x0, y0, x1, y1 in shares of the picture, score, class; a score of 0 is no box."""
    turned = array.copy()
    turned[:, 0], turned[:, 2] = 1 - array[:, 2], 1 - array[:, 0]
    return np.where(array[:, 4:5] > 0, turned, 0)


# What a mirrored picture does to targets, by kind.
MIRRORED = {"map": mirrored_map, "boxes": mirrored_boxes}


class Shaped(Protocol):
    """Anything of a teacher that knows the shapes of its targets by kind."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...


def empty_targets(joins: Mapping[str, Shaped], num_rows: int) -> dict[str, Any]:
    if not joins:
        return {}
    return {
        "targets": {
            name: {
                kind: np.zeros((num_rows, *shape), np.float32)
                for kind, shape in join.shapes.items()
            }
            for name, join in joins.items()
        },
        "taught": {name: np.zeros(num_rows, bool) for name in joins},
        "untaught": {name: np.full(num_rows, NONE, np.int32) for name in joins},
    }


def fill_targets(
    batch: dict[str, Any],
    row: int,
    joins: Mapping[str, Join],
    source: Source,
    index: int,
    windows: Windows,
) -> None:
    """The targets of one record.

    What a store should have and has not is zeros, and counted: also of a record too short for all slots.
    """
    for name, join in joins.items():
        taught = False
        if join.num_starts(index):
            try:
                found = join.read(index, windows.numbers[name], source.key(index))
                taught = True
            except MediaError:
                batch["untaught"][name][row] = index
            else:
                for kind, array in found.items():
                    if name in windows.mirrored and kind in MIRRORED:
                        array = MIRRORED[kind](array)
                    batch["targets"][name][kind][row] = array
        elif join.store.is_gap(index) or join.store.num_windows(index):
            batch["untaught"][name][row] = index
        batch["taught"][name][row] = taught
        if not taught:
            for array in batch["targets"][name].values():
                array[row] = 0
