"""Child processes that look at foreign files, and may crash, hang or devour memory."""

import collections
import contextlib
import dataclasses
import json
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Interpreter and imports on a loaded machine; it is not the item's fault if these take long.
START_TIMEOUT_SECONDS = 120.0
# Items handed out beyond the oldest that is unfinished: results wait in memory until their turn.
LOOKAHEAD_PER_WORKER = 4
BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from avssl.media.sandbox_child import main; main(int(sys.argv[2]))"
)


@dataclasses.dataclass(frozen=True)
class Failure:
    """What `ChildPool.map` gives in place of a result."""

    reason: str


# Each child is one thread's worth of work under a limit of its address space. Idle BLAS threads count there,
# and so do glibc's arenas, 64 MB for each of the many threads that ArrayRecord starts; where the limit is met
# among them, its pool waits for ever.
SMALL = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class ChildPool:
    """Persistent processes that run `function(item)`.

    A child that dies, takes more than `timeout_seconds` for an item, or grows by more than
    `memory_bytes` (enforced on Linux, as address space) costs that one item and is replaced.
    `function` and what it takes and returns are pickled; it must be importable by name. Exceptions
    it raises become `Failure`s too.

    Children are started as fresh interpreters that import nothing of the parent's main program, so
    that neither a command line that has JAX loaded nor a test runner is imported again.
    """

    def __init__(
        self,
        num_workers: int,
        function: Callable[[Any], Any],
        *,
        timeout_seconds: float,
        memory_bytes: int,
    ):
        if num_workers < 1:
            raise ValueError(f"a pool needs at least one child, not {num_workers}")
        self._num_workers = num_workers
        self._function = function
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._children: list[_Child] = []

    def __enter__(self) -> "ChildPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all children at once, whatever they are doing."""
        for child in self._children:
            child.end()
        self._children = []

    def map(self, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """(item, result or `Failure`) in the order of the items, which are taken as needed."""
        numbered = enumerate(items)
        finished: dict[int, tuple[Any, Any]] = {}
        jobs: collections.deque[_Job] = collections.deque()
        num_taken = num_given = 0
        more = True
        try:
            while True:
                while more and num_taken - num_given < self._num_workers * LOOKAHEAD_PER_WORKER:
                    index, item = next(numbered, (-1, None))
                    more = index >= 0
                    if more:
                        jobs.append(_Job(index, item))
                        num_taken += 1
                if num_given == num_taken:
                    return
                self._hand_out(jobs)
                for job, result in self._collect():
                    finished[job.index] = job.item, result
                while num_given in finished:
                    yield finished.pop(num_given)
                    num_given += 1
        finally:
            # Left early, or by an exception: what is still running belongs to nobody.
            for child in [child for child in self._children if child.job is not None]:
                self._remove(child)

    def _hand_out(self, jobs: "collections.deque[_Job]") -> None:
        while len(self._children) < min(self._num_workers, len(jobs) + self._num_busy()):
            self._children.append(_Child(self._function, self._memory_bytes))
        for child in self._children:
            if jobs and child.ready and child.job is None:
                child.start(jobs.popleft(), self._timeout_seconds)

    def _num_busy(self) -> int:
        return sum(child.job is not None for child in self._children)

    def _collect(self) -> list[tuple["_Job", Any]]:
        """Waits until something has happened, and says what became of which job."""
        waiting = [child for child in self._children if not child.ready or child.job is not None]
        patience = max(0.0, min(child.deadline for child in waiting) - time.monotonic())
        by_connection = {child.connection: child for child in waiting}
        heard = multiprocessing.connection.wait(list(by_connection), patience)
        results = []
        for child in waiting:
            job = child.job
            if child.connection in heard:
                result, alive = child.receive()
            elif time.monotonic() > child.deadline:
                result, alive = Failure(f"took more than {self._timeout_seconds:g} s"), False
            else:
                continue
            if not alive:
                self._remove(child)
            if job is not None:
                results.append((job, result))
            elif not alive:
                reason = result.reason if isinstance(result, Failure) else "it did not start"
                raise RuntimeError(f"a child process could not be started: {reason}")
        return results

    def _remove(self, child: "_Child") -> None:
        child.end()
        self._children.remove(child)


@dataclasses.dataclass(frozen=True)
class _Job:
    index: int
    item: Any


class _Child:
    """One process, the connection to it, and what it is doing."""

    def __init__(self, function: Callable[[Any], Any], memory_bytes: int):
        ours, theirs = socket.socketpair()
        with theirs:
            # What a dying decoder prints helps nobody; how it died is in the exit status.
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **SMALL},
            )
        self.connection = multiprocessing.connection.Connection(ours.detach())
        self.job: _Job | None = None
        self.ready = False
        self.deadline = time.monotonic() + START_TIMEOUT_SECONDS
        try:
            self.connection.send((function, memory_bytes))
        except BrokenPipeError:
            pass  # it has died; `receive` will say how
        except BaseException:
            self.end()
            raise

    def start(self, job: _Job, timeout_seconds: float) -> None:
        self.job = job
        self.deadline = time.monotonic() + timeout_seconds
        with contextlib.suppress(BrokenPipeError):  # it has died; `receive` will say how
            self.connection.send(job.item)

    def receive(self) -> tuple[Any, bool]:
        """(result of the job, whether the child can take another)."""
        try:
            kind, result = self.connection.recv()
        except (EOFError, OSError):
            return Failure(self._how_it_died()), False
        if kind == "ready":
            self.ready = True
            return None, True
        self.job = None
        return (result if kind == "done" else Failure(result)), kind in ("done", "failed")

    def _how_it_died(self) -> str:
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "its process closed the connection"
        if code < 0:
            return f"killed the process that read it ({signal.Signals(-code).name})"
        return f"ended the process that read it (exit code {code})"

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()
