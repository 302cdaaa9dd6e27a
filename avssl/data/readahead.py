"""Batches read ahead by threads of this process."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

Fill = Callable[[int], None]


class Begun:
    """An item on its way: made by the thread that comes first, filled part by part by all of them."""

    def __init__(self, num_parts: int):
        self.item: Any = None
        self.error: BaseException | None = None
        self.num_left = num_parts
        self._fill: Fill | None = None
        self._making = threading.Lock()

    def fill(self, begin: Callable[[], tuple[Any, Fill]], part: int) -> None:
        with self._making:
            if self._fill is None:
                self.item, self._fill = begin()
        self._fill(part)


class ReadAhead(Iterator[Any]):
    """Items 0, 1, ... up to `length`, in order, at most `num_threads` of them begun at once.

    `begin(number)` gives an item and what fills a part of it, one of as many as there are threads. They
    share an item, and not one each: the first is there after the time of one, and not of all of them.

    The threads are daemons: unlike those of an executor they do not keep the interpreter from
    leaving when a read hangs or takes long.
    """

    # How long `close` waits for the reads that are under way.
    join_seconds = 3.0

    def __init__(self, begin: Callable[[int], tuple[Any, Fill]], length: int, num_threads: int):
        self._begin = begin
        self._length = length
        self._num_threads = num_threads
        self._changed = threading.Condition()
        self._begun: dict[int, Begun] = {}
        self._num_parts_begun = 0
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

    def wait(self, seconds: float | None = None) -> bool:
        """Whether `next` need not wait, after so long at most."""
        self.start_prefetch()
        with self._changed:
            return self._changed.wait_for(self._is_next_over, seconds)

    def __next__(self) -> Any:
        self.wait()
        with self._changed:
            number = self._num_given
            if self._closed or number >= self._length:
                raise StopIteration
            begun = self._begun[number]
            if begun.error is not None:
                raise begun.error
            del self._begun[number]
            self._num_given += 1
            self._changed.notify_all()
        return begun.item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._begun.clear()
            self._changed.notify_all()
        # A thread that is inside a C++ reader when the interpreter leaves aborts the whole process.
        deadline = time.monotonic() + self.join_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _is_next_over(self) -> bool:
        if self._closed or self._num_given >= self._length:
            return True
        begun = self._begun.get(self._num_given)
        return begun is not None and (begun.num_left == 0 or begun.error is not None)

    def _may_begin(self) -> bool:
        return self._closed or self._next_part()[0] < self._num_given + self._num_threads

    def _next_part(self) -> tuple[int, int]:
        return divmod(self._num_parts_begun, self._num_threads)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._may_begin)
                number, part = self._next_part()
                if self._closed or number >= self._length:
                    return
                self._num_parts_begun += 1
                begun = self._begun.setdefault(number, Begun(self._num_threads))
            error = None
            try:
                begun.fill(lambda number=number: self._begin(number), part)
            except BaseException as raised:
                # Whatever it is, the consumer is to see it, in its turn.
                error = raised
            with self._changed:
                begun.num_left -= 1
                begun.error = begun.error or error
                self._changed.notify_all()
            if error is not None:
                return
