"""What the first batches of a pipeline show, for whoever is to read the same."""

import dataclasses

from avssl.data.pipeline import Pipeline
from avssl.data.placement import place_in_time
from avssl.data.reader import BatchReader
from avssl.data.views import VideoView, View
from avssl.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Window:
    """What one record gives in one row: its views, each with its start in the file."""

    index: int
    position: int
    starts: tuple[tuple[View, float], ...]


def first_windows(pipeline: Pipeline, num_batches: int) -> list[Window]:
    """The windows of the first batches, substitutes in the place of what cannot be read."""
    reader = pipeline.reader
    windows = []
    with pipeline.batches(stop_step=num_batches) as batches:
        indices = [index for batch in batches for index in batch["index"].tolist()]
    for position, index in enumerate(indices):
        with reader.handle(index) as handle:
            starts = place_in_time(
                reader.views, reader.windows, duration_seconds=handle.duration_seconds,
                seed=reader.seed, position=position,
            )  # fmt: skip
            shown = [(view, handle.start_seconds + start) for view, times in starts.items()
                     for start in times if handle.has[view.modality]]  # fmt: skip
        windows.append(
            Window(index, position, tuple(sorted(shown, key=lambda pair: pair[0].modality)))
        )
    filled = [window for window in windows if window.starts]
    if not filled:
        raise UsageError(f"'{reader.source.spec}': none of its records has what the views show")
    return filled


def decode_windows(reader: BatchReader, windows: list[Window]) -> None:
    """The part of the pipeline's work that is decoding."""
    for window in windows:
        with reader.handle(window.index) as handle:
            for view, start in window.starts:
                if isinstance(view, VideoView):
                    reader.decoder.frames(handle, view, start - handle.start_seconds)
                else:
                    reader.decoder.audio(handle, view, start - handle.start_seconds)
