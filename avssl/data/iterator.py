"""Running a data set of batches: read threads or worker processes, and a clean end of either."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grain

from avssl.data.handle import WHOLE_RECORD_SHARE
from avssl.data.keys import printable
from avssl.data.readahead import ReadAhead
from avssl.data.reader import Batch, BatchReader
from avssl.data.views import View
from avssl.data.worker_batches import SHARED_BATCHES_PER_WORKER, in_workers
from avssl.data.workers import READ_THREADS_PER_WORKER, Watch, check_shared_memory
from avssl.errors import AvsslError

# Without worker processes; FFmpeg runs outside Python's lock.
READ_THREADS = min(4, os.cpu_count() or 1)
# A record that takes this much longer than the time limit hangs inside a decoder, where no time
# limit of Python's reaches.
STALL_GRACE_SECONDS = 15.0
# How often a wait is interrupted to see whether a reader hangs.
LOOK_SECONDS = 1.0
# A pause of the whole process (a debugger, SIGSTOP) is no stall: time between two looks counts this
# much.
MAX_LOOK_SECONDS = 2.0
# How long a worker may take over its record once the iterator is closed.
GRACE_SECONDS = 3.0


class BatchIterator(Iterator[Batch]):
    """Batches with the views by name. `close` it, or use it in a `with` statement.

    It may be closed while another thread waits in `next`, which then says that it is over.
    `next` raises once one record has hung for too long, with its name.
    """

    def __init__(
        self,
        order: grain.MapDataset,
        reader: BatchReader,
        views: Mapping[str, View],
        workers: int,
        read_threads: int = READ_THREADS,
    ):
        self._records = reader.source
        self._numbers = {name: reader.views.index(view) for name, view in views.items()}
        if workers:
            num_batches = SHARED_BATCHES_PER_WORKER * workers + 1
            check_shared_memory(num_batches * reader.batch_bytes)
        num_readers = workers * READ_THREADS_PER_WORKER or read_threads
        self._watch = Watch(num_readers, shared=workers > 0)
        watched = reader.for_iterator(self._watch)
        self._ahead = (
            in_workers(order, watched, workers)
            if workers
            else in_threads(order, watched, read_threads)
        )
        self._oldest = (-1, 0.0)  # the record that has been read for longest, and when it was begun
        self._stalled_seconds = 0.0
        limit = reader.limits.max_decode_seconds
        self._patience_seconds = limit * (1 + WHOLE_RECORD_SHARE) + STALL_GRACE_SECONDS
        self._looked = time.monotonic()
        self._closed = False

    def __next__(self) -> Batch:
        try:
            while not self._ahead.wait(LOOK_SECONDS):
                self._check_stall()
            batch = next(self._ahead)
        except StopIteration:
            self.close()
            raise
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            names = ", ".join(f"'{self._key(index)}'" for index, _, _ in self._watch.busy())
            raise AvsslError(
                f"a data worker died while reading {names or 'nothing'} ({_exit_code(error)}): "
                f"remove it, or leave it out with `avssl data build {self._records.spec} OUT`"
            ) from error
        for group in ("views", "geometry", "present"):
            batch[group] = {name: batch[group][n] for name, n in self._numbers.items()}
        return batch

    def __enter__(self) -> "BatchIterator":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def start(self) -> None:
        """Begins to read ahead of the first `next`."""
        self._ahead.start_prefetch()

    def _check_stall(self) -> None:
        now = time.monotonic()
        looked, self._looked = self._looked, now
        busy = self._watch.busy()
        if not busy or busy[0][:2] != self._oldest:
            self._oldest = busy[0][:2] if busy else (-1, 0.0)
            self._stalled_seconds = 0.0
            return
        self._stalled_seconds += min(now - looked, MAX_LOOK_SECONDS)
        if self._stalled_seconds > self._patience_seconds:
            index = busy[0][0]
            self._kill_workers()
            raise AvsslError(
                f"decoding '{self._key(index)}' hangs (no answer for {self._patience_seconds:g} s): "
                f"remove it, or leave it out with `avssl data build {self._records.spec} OUT`"
            )

    def _key(self, index: int) -> str:
        return printable(self._records.key(index))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._watch.stop()
        # A worker that hangs never gives up by itself.
        killer = threading.Timer(GRACE_SECONDS, self._kill_workers)
        killer.start()
        self._ahead.close()
        killer.cancel()
        self._watch.close()

    def _kill_workers(self) -> None:
        for _, _, process in self._watch.busy():
            if process != os.getpid():
                os.kill(process, signal.SIGKILL)


def in_threads(order: grain.MapDataset, reader: BatchReader, num_threads: int) -> ReadAhead:
    # Grain's bookkeeping is not made for threads; what takes long happens outside the lock.
    lock = threading.Lock()

    def begin(number: int) -> tuple[Batch, Callable[[int], None]]:
        with lock:
            chosen = order[number]
        batch = reader.empty()

        def fill(part: int) -> None:
            reader.fill(batch, chosen, range(part, reader.num_rows, num_threads))

        return batch, fill

    return ReadAhead(begin, len(order), num_threads)


def _exit_code(error: RuntimeError) -> str:
    """The part of Grain's message that says how the process ended."""
    words = str(error).split("exit code ")
    return f"exit code {words[1].split('.')[0]}" if len(words) > 1 else "no exit code"
