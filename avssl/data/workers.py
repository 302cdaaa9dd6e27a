"""Worker processes and read threads: how they start, what they need, and what each is reading.

A decoder that hangs or kills its process leaves no exception to catch. Each reader therefore notes
in a small shared file which record it is at and since when, so that the run can end with the
record's name.
"""

import contextlib
import itertools
import multiprocessing
import multiprocessing.resource_tracker
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from avssl.errors import UsageError
from avssl.heap import keep_freed_memory

# A worker decodes one batch at a time; more processes, not more threads, is how to go faster.
READ_THREADS_PER_WORKER = 1

_ROW = np.dtype([("index", np.int64), ("since", np.float64), ("pid", np.int64)])
_STOP = -1
_worker_index = 0


def num_cores() -> int:
    """Fewer than the machine has, where a scheduler gave the process only some of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Stopped(Exception):  # noqa: N818 - the consumer closed the pipeline: nothing failed
    """Raised in a reader whose pipeline was closed: a long batch must not delay the exit."""


@contextlib.contextmanager
def out_of_reach_of_signals() -> Iterator[None]:
    """Processes started in here hear no Ctrl-C and no SIGTERM, which go to a whole process group.

    `start_worker` comes too late for it: a worker imports for a second or two before that, and would
    die with a traceback, or fail the run that is about to save and stop.
    """
    # It would be started on the way, and let the signals through again.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    )
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(worker_index: int, num_workers: int) -> None:
    """Runs first in each worker process."""
    global _worker_index
    _worker_index = worker_index
    keep_freed_memory(one_arena=False)
    # Whatever imports jax here must never take the accelerator from the process that trains.
    os.environ["JAX_PLATFORMS"] = "cpu"
    if (jax := sys.modules.get("jax")) is not None:
        jax.config.update("jax_platforms", "cpu")
    # Ctrl-C and the scheduler's SIGTERM reach the whole process group; the parent decides when to
    # stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if (parent := multiprocessing.parent_process()) is not None:
        # A parent that was killed cannot tell its workers to stop.
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def check_shared_memory(needed_bytes: int, folder: str = "/dev/shm") -> None:
    """Batches are handed over in shared memory; a worker that finds it full dies without a word."""
    if not os.path.isdir(folder):
        return
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UsageError(
            f"data.workers need {needed_bytes / 1e6:.0f} MB of shared memory but {folder} has "
            f"{free / 1e6:.0f} MB free: set fewer data.workers or a smaller batch_size, or make it "
            f"larger (docker run --shm-size, mount -o remount,size=... {folder})"
        )


class Watch:
    """What each reader of one iterator is at; `shared` with workers, which open its file."""

    def __init__(self, num_readers: int, *, shared: bool = False) -> None:
        self.path: str | None = None
        table = np.zeros(1 + num_readers, _ROW)
        if shared:
            handle, self.path = tempfile.mkstemp(prefix="avssl-watch-")
            os.close(handle)
            table.tofile(self.path)
            table = np.memmap(self.path, dtype=_ROW, mode="r+")
        self._start(table)

    def _start(self, table: np.ndarray) -> None:
        self._head, self._table = table[0], table[1:]
        self._thread = threading.local()
        self._free = itertools.count(_worker_index * READ_THREADS_PER_WORKER)

    def __getstate__(self) -> dict[str, str | None]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.path = state["path"]
        self._start(np.memmap(self.path, dtype=_ROW, mode="r+"))

    @contextlib.contextmanager
    def reading(self, index: int) -> Iterator[None]:
        """Notes that this thread reads the record `index`."""
        if self._head["pid"] == _STOP:
            raise Stopped
        if not hasattr(self._thread, "row"):
            self._thread.row = self._table[next(self._free)]
            self._thread.row["pid"] = os.getpid()
        row = self._thread.row
        row["index"] = index
        # The clock is the same in all processes of a machine. A time marks the row as taken: it
        # goes last.
        row["since"] = time.monotonic()
        try:
            yield
        finally:
            row["since"] = 0.0

    def busy(self) -> list[tuple[int, float, int]]:
        """(record index, when it was begun, process) of what is being read, the oldest first."""
        rows = [(int(row["index"]), float(row["since"]), int(row["pid"])) for row in self._table]
        return sorted((row for row in rows if row[1] > 0), key=lambda row: row[1])

    def stop(self) -> None:
        """Makes every reader raise `Stopped` before its next record."""
        self._head["pid"] = _STOP

    def close(self) -> None:
        self.stop()
        if self.path is not None:
            Path(self.path).unlink(missing_ok=True)
