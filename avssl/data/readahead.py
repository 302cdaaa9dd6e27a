"""Batches read ahead by threads of this process."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# How long `close` waits for the reads that are under way.
JOIN_SECONDS = 3.0


class ReadAhead(Iterator[Any]):
    """`read(0)`, `read(1)`, ... up to `length`, in order, at most `num_threads` of them at once.

    The threads are daemons: unlike those of an executor they do not keep the interpreter from
    leaving when a read hangs or takes long.
    """

    def __init__(self, read: Callable[[int], Any], length: int, num_threads: int):
        self._read = read
        self._length = length
        self._num_threads = num_threads
        self._changed = threading.Condition()
        self._results: dict[int, tuple[Any, BaseException | None]] = {}
        self._num_begun = 0
        self._num_given = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def start_prefetch(self) -> None:
        if self._threads:
            return
        for number in range(self._num_threads):
            name = f"read-ahead-{number}"
            self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def __next__(self) -> Any:
        self.start_prefetch()
        with self._changed:
            number = self._num_given
            if self._closed or number >= self._length:
                raise StopIteration
            self._changed.wait_for(lambda: self._closed or number in self._results)
            if self._closed:
                raise StopIteration
            result, error = self._results[number]
            if error is not None:
                raise error
            del self._results[number]
            self._num_given += 1
            self._changed.notify_all()
        return result

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._results.clear()
            self._changed.notify_all()
        # A thread that is inside a C++ reader when the interpreter leaves aborts the whole process.
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _may_begin(self) -> bool:
        return self._closed or self._num_begun < self._num_given + self._num_threads

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._may_begin)
                number = self._num_begun
                if self._closed or number >= self._length:
                    return
                self._num_begun += 1
            result, error = None, None
            try:
                result = self._read(number)
            except BaseException as raised:
                # Whatever it is, the consumer is to see it, in its turn.
                error = raised
            with self._changed:
                if not self._closed:
                    self._results[number] = result, error
                self._changed.notify_all()
            if error is not None:
                return
