"""Batches that worker processes read, which Grain starts, feeds and hands over in shared memory."""

import gc
import time
from typing import Any

import grain
import numpy as np
from absl import flags

from avssl.data.readahead import Fill, ReadAhead
from avssl.data.reader import Batch, BatchReader
from avssl.data.workers import READ_THREADS_PER_WORKER, out_of_reach_of_signals, start_worker

# Batches of each worker that lie in shared memory at once: on the way into its queue, in it, and
# out of it; and one that is being copied.
SHARED_BATCHES_PER_WORKER = 3
# Smaller arrays travel through the queue itself: a piece of shared memory for each would cost more.
MIN_SHARED_BYTES = 1 << 16
FREEING_SECONDS = 0.1


class WorkerBatches(ReadAhead):
    """Grain's batches, each copied in a thread: whoever waits for Grain itself is deaf meanwhile."""

    # Longer than a worker that hangs is let live once the iterator is closed: Grain's iterator cannot
    # be closed while a thread is in it.
    join_seconds = 6.0

    def __init__(self, batches: Any, length: int):
        super().__init__(self._fetch, length, num_threads=1)
        self._batches: Any = batches

    def _fetch(self, _number: int) -> tuple[Batch, Fill]:
        with out_of_reach_of_signals():  # the first of them starts the workers
            batch = next(self._batches)
        return _copied(batch), lambda _part: None

    def close(self) -> None:
        super().close()
        self._batches.close()
        self._batches = None
        # Batches that were read ahead lie in shared memory, held by reference cycles.
        gc.collect()
        # Grain frees them in a thread of its own, which the end of the program would cut off.
        time.sleep(FREEING_SECONDS)


def in_workers(order: grain.MapDataset, reader: BatchReader, workers: int) -> WorkerBatches:
    if not flags.FLAGS.is_parsed():
        # Grain reads absl flags, which nothing but absl's own app.run would have parsed.
        flags.FLAGS.mark_as_parsed()
    threads = READ_THREADS_PER_WORKER
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    dataset = order.map(reader.batch).to_iter_dataset(options)
    small = grain.experimental.DatasetOptions(min_shm_size=MIN_SHARED_BYTES)
    dataset = grain.experimental.WithOptionsIterDataset(dataset, small)
    workers_options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
    batches = iter(dataset.mp_prefetch(workers_options, worker_init_fn=start_worker))
    return WorkerBatches(batches, len(order))


def _copied(tree: Any) -> Any:
    """Out of shared memory, which is then free again at once, and not when the consumer is done."""
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return np.array(tree, subok=False)
