"""Windows of files, through the pipeline that evaluation reads by."""

from collections.abc import Iterator, Sequence

import numpy as np

from avssl.data.keys import printable
from avssl.data.pipeline import evaluation_batches
from avssl.data.placement import num_windows_every
from avssl.data.reader import Batch, reader_of_single
from avssl.data.views import View
from avssl.embed.listed import ListedSource
from avssl.errors import AvsslError
from avssl.media.errors import MediaError

VIEW = "view"


def count_windows(source: ListedSource, view: View, every_seconds: float | None) -> list[int]:
    """How many windows of each file are looked at."""
    if every_seconds is None:
        return [1] * len(source)
    reader, counts = reader_of_single(source, view), []
    for index in range(len(source)):
        try:
            with reader.handle(index) as handle:
                duration_seconds = handle.duration_seconds
        except MediaError as error:
            raise AvsslError(f"'{printable(source.key(index))}' {error}") from error
        counts.append(num_windows_every(view, every_seconds, duration_seconds))
    return counts


def file_batches(
    source: ListedSource,
    view: View,
    counts: Sequence[int],
    every_seconds: float | None,
    batch_size: int,
) -> Iterator[Batch]:
    """Batches of all windows, in order; AvsslError for a file that cannot be read or lacks the modality."""
    indices = np.repeat(np.arange(len(source)), counts)
    starts = None
    if every_seconds is not None:
        starts = np.concatenate([np.arange(count) * every_seconds for count in counts])
    with evaluation_batches(
        source, {VIEW: view}, batch_size=batch_size, indices=indices, starts=starts
    ) as batches:
        for batch in batches:
            unreadable = batch["fault"][batch["fault"] >= 0]
            if len(unreadable):
                index = int(unreadable[0])
                reason = reader_of_single(source, view).reason(index)
                raise AvsslError(f"'{printable(source.key(index))}' cannot be read: {reason}")
            lacking = batch["index"][batch["mask"] & ~batch["present"][VIEW]]
            if len(lacking):
                key = printable(source.key(int(lacking[0])))
                raise AvsslError(f"'{key}' has no {view.modality}")
            yield batch
