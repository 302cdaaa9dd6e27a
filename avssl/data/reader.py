"""Batches of arrays: which record takes a slot, and the views of that record.

A `BatchReader` travels to worker processes; what it opens (files, cache, tables of facts) it opens
there.
"""

import copy
import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from avssl.data.boxes import objects_in_view
from avssl.data.decoded import Decoder, crop_frames
from avssl.data.handle import Facts, Handle
from avssl.data.joined import Join, check_joins, draw_windows, empty_targets, fill_targets
from avssl.data.kept import make_cache
from avssl.data.keys import printable
from avssl.data.placement import (
    anchor_windows,
    is_mirrored,
    place_in_space,
    place_in_time,
    place_on_sphere,
)
from avssl.data.record import Source, identity_of
from avssl.data.truth import objects_at
from avssl.data.views import VideoView, View
from avssl.data.workers import Stopped, Watch
from avssl.errors import AvsslError
from avssl.media.channels import mirrored
from avssl.media.errors import MediaError, MissingTrackError
from avssl.media.limits import Limits
from avssl.media.sphere import crop_frames as crop_panorama
from avssl.media.sphere import sampling_map

# How many records after an unreadable one are tried before the data as a whole counts as
# unreadable.
MAX_SUBSTITUTES = 16
NUM_NEIGHBOURS = 4
# In `index` and `fault`: no record; in `classes`: no object.
NONE = -1
# Less of an object than this share of its box is not called seen.
LEAST_IN_VIEW = 0.2

Batch = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class CacheOptions:
    kind: str = "none"
    gigabytes: float = 2.0
    num_processes: int = 1


def empty_batch(
    views: Sequence[View], num_rows: int, joins: Mapping[str, Join] = MappingProxyType({})
) -> Batch:
    """The arrays of a batch; views, geometry and presence are lists over the distinct views."""

    def rows_of(shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.zeros((num_rows, *shape), dtype)

    return {
        "views": [np.empty((num_rows, *view.array[0]), view.array[1]) for view in views],
        "geometry": [
            {name: rows_of(*kind) for name, kind in view.geometry.items()} for view in views
        ],
        "present": [np.zeros(num_rows, bool) for _ in views],
        "index": np.full(num_rows, NONE, np.int32),
        "label": np.full(num_rows, NONE, np.int32),
        "valid": np.zeros(num_rows, bool),
        "fault": np.full(num_rows, NONE, np.int32),
        "row": np.arange(num_rows, dtype=np.int32),
        **empty_targets(joins, num_rows),
    }


def blank(batch: Batch, number: int, row: int) -> None:
    """Nothing of one view in one row: zeros, also where a failed record has left something."""
    batch["views"][number][row] = 0
    batch["present"][number][row] = False
    for array in batch["geometry"][number].values():
        array[row] = 0


def substitute_offset(step: int, num_members: int) -> int:
    """How far from an unreadable record its substitute number `step` lies; all are different.

    The next ones first, then ever further away, up to most of the way round: damaged files lie side
    by side, as a copy that broke off leaves them.
    """
    far = num_members * step**3 // (MAX_SUBSTITUTES + 1) ** 3
    return step if step <= NUM_NEIGHBOURS else max(step, far)


class OncePerProcess:
    """Something that is built at first use, by whichever thread comes first, and never pickled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: Any = None

    def __reduce__(self) -> tuple[type, tuple]:
        return OncePerProcess, ()

    def get(self, build: Callable[[], Any]) -> Any:
        with self._lock:
            if self._built is None:
                self._built = build()
            return self._built


class BatchReader:
    """Reads the rows of one host, by default all. `parts` holds the record indices of each part of a mix.

    A batch is of what was chosen for it: (position, part, place in the part) of all its rows, or, if
    `ordered`, its number in one pass over the first part.
    """

    def __init__(
        self,
        source: Source,
        views: Sequence[View],
        parts: Sequence[np.ndarray],
        *,
        seed: int,
        cache: CacheOptions,
        limits: Limits,
        batch_size: int,
        rows: np.ndarray | None = None,
        joins: Mapping[str, Join] = MappingProxyType({}),
        starts: np.ndarray | None = None,
        starts_of: View | None = None,
        ordered: bool = False,
    ):
        self.batch_size = batch_size
        self.joins = dict(joins)
        # By position, where they are not drawn: of every view, or of one, with the others around it.
        self.starts, self.starts_of = starts, starts_of
        self.source = source
        self.views = tuple(views)
        self.parts = tuple(parts)
        self.seed = seed
        self.cache = cache
        self.limits = limits
        self.watch: Watch | None = None
        # Of the global batch: those of a host need not be neighbours.
        self.rows = np.arange(batch_size) if rows is None else rows
        self.ordered = ordered
        # A teacher's view has its part in the common window, whether it is decoded or not.
        on_grid = [join.view for join in self.joins.values() if join.on_grid and join.view]
        self.windows = anchor_windows((*self.views, *on_grid))
        check_joins(self.joins)
        # Here and not in each worker: it needs a look at every record.
        self._identity = identity_of(source) if cache.kind == "disk" else ""
        self._opened = OncePerProcess()

    def for_iterator(self, watch: Watch) -> "BatchReader":
        """The same reader for another iterator: both use one cache."""
        other = copy.copy(self)
        other.watch = watch
        return other

    def share_cache(self, other: "BatchReader") -> None:
        """Reads from now on through what another reader of the same source has open and keeps.

        Worker processes share a disk cache only: each has its own memory.
        """
        self.cache, self._identity, self._opened = other.cache, other._identity, other._opened

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    @property
    def batch_bytes(self) -> int:
        """What the arrays of a batch take, but for a few kilobytes."""
        row = empty_batch(self.views, 1, self.joins)
        targets = [array for kinds in row.get("targets", {}).values() for array in kinds.values()]
        return self.num_rows * sum(array.nbytes for array in (*row["views"], *targets))

    def empty(self) -> Batch:
        batch = empty_batch(self.views, self.num_rows, self.joins)
        batch["row"][:] = self.rows
        if self.ordered:
            batch["mask"] = np.zeros(self.num_rows, bool)
        return batch

    def batch(self, chosen: Any) -> Batch:
        batch = self.empty()
        self.fill(batch, chosen, range(self.num_rows))
        return batch

    def fill(self, batch: Batch, chosen: Any, rows: Iterable[int]) -> None:
        """Reads some of the host's rows, counted from its first, into their places."""
        for row in rows:
            if self.ordered:
                self._read_or_leave_blank(batch, row, chosen)
            else:
                position, part, place = (int(column[self.rows[row]]) for column in chosen)
                self._read_or_substitute(batch, row, position, self.parts[part], place)

    def reason(self, index: int) -> str:
        """Why a record cannot be read, by reading all of it that the views may need once more."""
        try:
            with self.handle(index) as handle:
                self.decoder.check(handle, self.views)
        except MediaError as error:
            return str(error)
        return "readable now"

    def _read_or_leave_blank(self, batch: Batch, row: int, number: int) -> None:
        """The record of this row of batch `number`; past the end of the part there is none."""
        members = self.parts[0]
        place = number * self.batch_size + int(self.rows[row])
        index = int(members[place]) if place < len(members) else NONE
        if index != NONE and self._read(batch, row, place, index) is None:
            batch["mask"][row] = batch["valid"][row] = True
            return
        for view in range(len(self.views)):
            blank(batch, view, row)
        batch["index"][row] = batch["fault"][row] = index

    def _read_or_substitute(
        self, batch: Batch, row: int, position: int, members: np.ndarray, place: int
    ) -> None:
        """The record at `place`, or the first readable one of its substitutes in the same part."""
        wanted = int(members[place])
        num_tries = min(MAX_SUBSTITUTES + 1, len(members))
        for step in range(num_tries):
            index = int(members[(place + substitute_offset(step, len(members))) % len(members)])
            error = self._read(batch, row, position, index)
            if error is None:
                batch["valid"][row] = step == 0
                batch["fault"][row] = NONE if step == 0 else wanted
                return
        raise AvsslError(
            f"neither '{printable(self.source.key(wanted))}' nor any of {num_tries - 1} others in "
            f"its place can be read (the last: {error}); run `avssl data verify {self.source.spec}`"
        )

    def _read(self, batch: Batch, row: int, position: int, index: int) -> MediaError | None:
        """Fills one row, or returns why the record is unreadable; other failures name it."""
        try:
            assert self.watch is not None
            with self.watch.reading(index):
                self._fill(batch, row, position, index)
        except MediaError as error:
            return error
        except (AvsslError, Stopped):
            raise
        except Exception as error:
            raise AvsslError(
                f"record '{printable(self.source.key(index))}' of {self.source.spec}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return None

    def _fill(self, batch: Batch, row: int, position: int, index: int) -> None:
        windows = draw_windows(
            self.joins, index, self.windows, seed=self.seed, position=position
        )  # fmt: skip
        with self.handle(index) as handle:
            self._fill_views(batch, row, position, handle, windows.starts)
        if self.joins:
            fill_targets(batch, row, self.joins, self.source, index, windows)
        batch["index"][row] = index
        batch["label"][row] = self._open()[2][index]

    def _fill_views(
        self,
        batch: Batch,
        row: int,
        position: int,
        handle: Handle,
        fixed: Mapping[View, float],
    ) -> None:
        if self.starts is not None:
            begun = self.views if self.starts_of is None else (self.starts_of,)
            fixed = dict.fromkeys(begun, float(self.starts[position]))
        starts = place_in_time(
            self.views, self.windows, duration_seconds=handle.duration_seconds, seed=self.seed,
            position=position, fixed=fixed,
        )  # fmt: skip
        # Sound first: its first segment begins where the file was opened, frames are sought anyway.
        for number, view in sorted(enumerate(self.views), key=lambda pair: pair[1].modality):
            try:
                self._fill_view(batch, number, row, position, handle, starts[view])
            except MissingTrackError:
                # The source was wrong about the file.
                blank(batch, number, row)

    def _fill_view(
        self,
        batch: Batch,
        number: int,
        row: int,
        position: int,
        handle: Handle,
        starts: list[float],
    ) -> None:
        view, out = self.views[number], batch["views"][number][row]
        if not handle.has[view.modality] or any(map(math.isnan, starts)):
            blank(batch, number, row)
            return
        # A slice, since a single number of a row could not be written to.
        places = {name: array[row : row + 1] for name, array in batch["geometry"][number].items()}
        # One window has no axis of its own; with it, all views look alike.
        if view.windows == 1:
            out = out[None]
        if isinstance(view, VideoView) and view.projection == "sphere":
            self._fill_directions(out, view, places, handle, starts[0], position)
        else:
            crops = len(out) // len(starts)
            for place, start in enumerate(starts):
                first = place * crops
                own = out[first : first + crops]
                self._fill_window(own, view, first, places, handle, start, position)
            starts = list(np.repeat(starts, crops))
        places["start_seconds"][0] = starts if len(starts) > 1 else starts[0]
        batch["present"][number][row] = True

    def _fill_window(
        self,
        out: np.ndarray,
        view: View,
        first: int,
        places: dict[str, np.ndarray],
        handle: Handle,
        start: float,
        position: int,
    ) -> None:
        """What begins at one time: one window, or one for each crop, counted from the `first`."""
        if not isinstance(view, VideoView):
            samples = self.decoder.audio(handle, view, start)
            turns = is_mirrored(view, self.seed, position, first)
            out[0] = mirrored(samples) if turns else samples
            return
        pixels, chosen = self.decoder.frames(handle, view, start)
        height, width = pixels.shape[1:3]
        for window, each in enumerate(out, start=first):
            crop = place_in_space(
                view, frame_width=width, frame_height=height, seed=self.seed, position=position,
                number=window,
            )  # fmt: skip
            crop_frames(pixels, chosen, crop, view.size, each)
            place = (0,) if view.windows == 1 else (0, window)
            places["box"][place] = crop.box(width, height)
            places["flip"][place] = crop.flip
        if view.objects:
            self._fill_objects(view, places, handle, start)

    def _fill_objects(
        self, view: VideoView, places: dict[str, np.ndarray], handle: Handle, start: float
    ) -> None:
        """The boxes of what is on display at that time, as the view shows it."""
        seen = objects_at(handle.truth, start, sounding=True if view.heard_objects else None)
        seen = objects_in_view(
            seen, places["box"][0], bool(places["flip"][0]), least_share=LEAST_IN_VIEW
        )
        count = min(len(seen), len(places["objects"][0]))
        places["objects"][0], places["classes"][0] = 0, NONE
        places["objects"][0, :count] = seen.boxes[:count]
        places["classes"][0, :count] = seen.labels[:count]

    def _fill_directions(
        self,
        out: np.ndarray,
        view: VideoView,
        places: dict[str, np.ndarray],
        handle: Handle,
        start: float,
        position: int,
    ) -> None:
        """Crops of a panorama at one time, each around its own direction."""
        pixels, chosen = self.decoder.frames(handle, view, start)
        height, width = pixels.shape[1:3]
        viewpoints = place_on_sphere(view, seed=self.seed, position=position)
        for window, viewpoint in enumerate(viewpoints):
            sampling = sampling_map(
                viewpoint, (height, width), (view.size, view.size),
                released_sampling=view.released_sampling,
            )  # fmt: skip
            out[window] = crop_panorama(pixels[chosen], sampling)
        directions = np.array(viewpoints, np.float32)
        places["direction"].reshape(-1, 2)[:] = directions[:, :2]
        places["field"].reshape(-1, 2)[:] = directions[:, 2:]

    def handle(self, index: int) -> Handle:
        return Handle(self._open()[0], index)

    @property
    def decoder(self) -> Decoder:
        return self._open()[1]

    def _open(self) -> tuple[Facts, Decoder, np.ndarray]:
        return self._opened.get(self._build)

    def _build(self) -> tuple[Facts, Decoder, np.ndarray]:
        options = self.cache
        cache = make_cache(options.kind, options.gigabytes, self._identity, options.num_processes)
        labels = np.asarray(self.source.labels(), np.int32)
        return Facts(self.source, self.limits), Decoder(cache), labels


def reader_of_single(source: Source, view: View) -> BatchReader:
    """For a look at single records by `handle` and `reason`."""
    return BatchReader(
        source, (view,), [np.arange(len(source))], seed=0, cache=CacheOptions(), limits=Limits(),
        batch_size=1,
    )  # fmt: skip
