"""The time that decoding may take, of which a busy or paused machine takes nothing away."""

import contextlib
import time
from collections.abc import Iterator

from avssl.media.errors import MediaError


class Clock:
    """Counts the processor time of this thread, which runs all decoding: see `Limits`.

    Wall time would make the same file readable on one machine and unreadable on a busier one. A
    decoder that waits for ever is for a watchdog outside to end.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        self._end = time.thread_time() + self._seconds

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Time in the block is not counted."""
        begin = time.thread_time()
        try:
            yield
        finally:
            self._end += time.thread_time() - begin

    def check(self) -> None:
        if time.thread_time() > self._end:
            raise MediaError(f"took more than {self._seconds:g} s to decode")
