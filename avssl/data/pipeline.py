"""From a source to batches of arrays: batch k is a function of (seed, k) and of nothing else.

The order is drawn on cheap integers for the whole global batch; a host then reads its own rows of
it. So the arrays do not depend on the number of hosts or workers, and a resumed run only needs its
step.
"""

import functools
import math
import sys
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import grain
import numpy as np

from avssl.data.balanced import num_distinct
from avssl.data.iterator import READ_THREADS, BatchIterator
from avssl.data.joined import Join
from avssl.data.reader import BatchReader, CacheOptions
from avssl.data.record import Source
from avssl.data.views import View
from avssl.errors import UsageError
from avssl.media.limits import Limits

# (size, seed, purpose) -> numbers below `size`, for ever.
Draw = Callable[[int, int, int | str], grain.MapDataset]


class Pipeline:
    """Endless shuffled batches of a source.

    `rows`: those of the global batch that are read here, ascending (all by default); a host reads what its
    devices hold (`rows_of_process` of `avssl/train/mesh.py`).

    `indices`: the records to use (all by default). A memory cache belongs to one process and the
    worker processes share its budget, each for the records that it meets: with workers, prefer the
    disk cache.

    `joins`: what teachers said of the records, by teacher.

    `parts`: records that are drawn from equally often, in place of `indices`; a record may be in several.

    `with_replacement`: each sample is drawn from all records, whatever came before it, in place of epochs in
    which each record comes once.
    """

    def __init__(
        self,
        source: Source,
        views: Mapping[str, View],
        *,
        batch_size: int,
        seed: int,
        workers: int = 0,
        cache: str = "none",
        cache_gigabytes: float = 2.0,
        rows: np.ndarray | None = None,
        indices: np.ndarray | None = None,
        parts: Sequence[np.ndarray] | None = None,
        with_replacement: bool = False,
        limits: Limits | None = None,
        read_threads: int = READ_THREADS,
        joins: Mapping[str, Join] = MappingProxyType({}),
    ):
        if seed < 0:
            raise UsageError(f"seed must not be negative: {seed}")
        draw = drawn if with_replacement else shuffled
        if parts is None:
            parts, weights = split_parts(source, indices)
            self._order = sample_order(parts, weights, seed, draw)
        else:
            self._order = order_in_turn(parts, seed, draw)
        num_records = num_distinct(parts)
        if num_records < batch_size:
            raise UsageError(
                f"'{source.spec}' has {num_records} usable records, fewer than batch_size "
                f"{batch_size}: set a smaller batch_size or add data"
            )
        self.source = source
        self.views = dict(views)
        self.batch_size = batch_size
        self.workers = workers
        self.read_threads = read_threads
        self.reader = BatchReader(
            source,
            distinct(views),
            parts,
            seed=seed,
            cache=CacheOptions(cache, cache_gigabytes, max(1, workers)),
            limits=limits or Limits(),
            rows=rows,
            batch_size=batch_size,
            joins=joins,
        )

    def batches(self, start_step: int = 0, stop_step: int | None = None) -> BatchIterator:
        """Batches `start_step`, `start_step + 1`, ... for ever, or up to `stop_step`."""
        chosen = self._order.map_with_index(_with_position)
        chosen = chosen.batch(self.batch_size, drop_remainder=True)
        chosen = chosen.slice(slice(start_step, sys.maxsize if stop_step is None else stop_step))
        return BatchIterator(chosen, self.reader, self.views, self.workers, self.read_threads)

    def names_of(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """(key, why it cannot be read) of records that were substituted; opens them again."""
        return [(self.source.key(int(i)), self.reader.reason(int(i))) for i in indices]


def evaluation_batches(
    source: Source,
    views: Mapping[str, View],
    *,
    batch_size: int,
    indices: np.ndarray | None = None,
    workers: int = 0,
    limits: Limits | None = None,
    seed: int = 0,
    rows: np.ndarray | None = None,
    reader: BatchReader | None = None,
    starts: np.ndarray | None = None,
    starts_of: View | None = None,
) -> BatchIterator:
    """One pass in order, with the views as given; `mask` marks the rows that hold a record.

    `rows`: those of each batch that are read here, as of a `Pipeline`.
    `reader`: another reader of this source, such as a training pipeline's, whose cache to share.
    `starts`: where the views of each of `indices` begin; an index of -1 is a blank row. `starts_of`: the one
    that begins there, with the others around it as they lie to each other.

    The last batch is filled up with blank rows (index -1). An unreadable record is not substituted:
    its row is blank and out of `mask`, its index in `fault`.
    """
    members = np.arange(len(source)) if indices is None else np.asarray(indices)
    in_order = BatchReader(
        source,
        distinct(views),
        [members],
        seed=seed,
        cache=CacheOptions(),
        limits=limits or Limits(),
        rows=rows,
        batch_size=batch_size,
        starts=starts,
        starts_of=starts_of,
        ordered=True,
    )
    if reader is not None:
        in_order.share_cache(reader)
    num_batches = math.ceil(len(members) / batch_size)
    return BatchIterator(grain.MapDataset.range(num_batches), in_order, views, workers)


def usable_indices(
    source: Source, modalities: Collection[str], among: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Of all records (or those `among`), the ones with all of these modalities, and one at least; how many
    have not.

    Where nobody has opened the files yet all records count as usable; what one lacks shows when it
    is read.
    """
    has = source.modalities()
    usable = np.ones(len(source), bool)
    if has is not None:
        usable = has[0] | has[1]
        for modality, known in zip(("video", "audio"), has, strict=True):
            if modality in modalities:
                usable &= known
    among = np.arange(len(source)) if among is None else among
    return among[usable[among]], int(np.count_nonzero(~usable[among]))


def distinct(views: Mapping[str, View]) -> tuple[View, ...]:
    """Each specification once: two names of one view are decoded once."""
    return tuple(dict.fromkeys(views.values()))


def split_parts(source: Source, indices: np.ndarray | None) -> tuple[list[np.ndarray], list[float]]:
    """The record indices of each part of a mix, and the weights; one part for any other source."""
    chosen = np.arange(len(source)) if indices is None else np.unique(np.asarray(indices))
    mix = getattr(source, "parts", ((source, 1.0),))
    parts, first = [], 0
    for part, _ in mix:
        inside = chosen[(chosen >= first) & (chosen < first + len(part))]
        if not len(inside):
            raise UsageError(f"'{part.spec}' has no usable records: take it out of data.source")
        parts.append(inside)
        first += len(part)
    return parts, [weight for _, weight in mix]


def sample_order(
    parts: Sequence[np.ndarray], weights: Sequence[float], seed: int, draw: Draw
) -> grain.MapDataset:
    """(part, place in the part) for each position of the endless global order of samples."""
    orders = [
        draw(len(members), seed, number).map(functools.partial(_with_part, number))
        for number, members in enumerate(parts)
    ]
    return orders[0] if len(orders) == 1 else grain.MapDataset.mix(orders, weights)


def order_in_turn(parts: Sequence[np.ndarray], seed: int, draw: Draw) -> grain.MapDataset:
    """The same for parts that take turns, in a new order each round: `mix` has one fixed round."""
    places = [draw(len(members), seed, number) for number, members in enumerate(parts)]
    turns = shuffled(len(parts), seed, "turns")
    return turns.map_with_index(NextOfPart(places))


def shuffled(size: int, seed: int, purpose: int | str) -> grain.MapDataset:
    """Numbers below `size` in an order of their own, for ever, in a new one each time."""
    return grain.MapDataset.range(size).shuffle(seed=order_seed(seed, purpose)).repeat()


def drawn(size: int, seed: int, purpose: int | str) -> grain.MapDataset:
    """Numbers below `size` for ever, each drawn whatever came before it."""
    number = functools.partial(_number_below, size, order_seed(seed, purpose))
    return grain.MapDataset.range(size).repeat().map_with_index(number)


def order_seed(seed: int, purpose: int | str) -> int:
    # Grain adds the epoch to the seed: without the hash, seed 1 would begin as seed 0 goes on.
    return zlib.crc32(repr((seed, "order", purpose)).encode())


class NextOfPart:
    """The place in the part whose turn it is. No `partial`: Grain would write out all parts at each step."""

    def __init__(self, places: Sequence[grain.MapDataset]):
        self.places: Sequence[Any] = places

    def __call__(self, position: int, part: int) -> tuple[int, int]:
        # Each round has each part once.
        return part, self.places[part][position // len(self.places)]


def _number_below(size: int, seed: int, position: int, _: int) -> int:
    return int(np.random.default_rng((seed, position)).integers(size))


def _with_part(part: int, place: int) -> tuple[int, int]:
    return part, place


def _with_position(position: int, chosen: tuple[int, int]) -> tuple[int, int, int]:
    return position, *chosen
