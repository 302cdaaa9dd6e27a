"""The windows that a store will hold, planned before a teacher looks at any."""

import dataclasses

import numpy as np

from avssl.data.placement import num_windows_every
from avssl.data.reader import NONE, reader_of_single
from avssl.data.record import Source, durations_of
from avssl.data.views import View
from avssl.media.errors import MediaError
from avssl.teachers.store import LACKING, UNREADABLE
from avssl.teachers.writer import TargetWriter


@dataclasses.dataclass(frozen=True)
class Plan:
    """Windows to look at, in the writer's order: each row of a batch is one, -1 a blank.

    Shards begin with a batch of their own, so that a number never depends on where a killed run went on.
    """

    index: np.ndarray
    starts: np.ndarray | None
    num_windows: dict[int, int]  # by record; 0 where none can be looked at
    states: dict[int, int]


def plan(
    writer: TargetWriter, source: Source, view: View, batch_size: int, every_seconds: float
) -> Plan:
    known = known_to_have(source, view)
    # Where the source says how long records are, none of them need be opened for it.
    seconds = durations_of(source) if every_seconds else None
    reader = reader_of_single(source, view)
    index: list[int] = []
    starts: list[float] = []
    num_windows, states = {}, {}
    for shard in writer.pending_shards():
        for record in range(*writer.bounds(shard)):
            count = 1
            if known is not None and not known[record]:
                count, states[record] = 0, LACKING
            elif seconds is not None and seconds[record] > 0:
                count = num_windows_every(view, every_seconds, float(seconds[record]))
            elif every_seconds:
                try:
                    with reader.handle(record) as handle:
                        count = num_windows_every(view, every_seconds, handle.duration_seconds)
                except MediaError:
                    count, states[record] = 0, UNREADABLE
            num_windows[record] = count
            index += [record] * count
            starts += [window * every_seconds for window in range(count)]
        blanks = -len(index) % batch_size
        index += [NONE] * blanks
        starts += [0.0] * blanks
    return Plan(
        np.array(index, np.int64), np.array(starts) if every_seconds else None, num_windows, states
    )


def known_to_have(source: Source, view: View) -> np.ndarray | None:
    """bool [records]: which have the view's modality; None where the source does not know."""
    has = source.modalities()
    return None if has is None else has[0 if view.modality == "video" else 1]
