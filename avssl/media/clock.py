"""The time that decoding may take, of which a busy or paused machine takes nothing away."""

import time

from avssl.media.errors import MediaError


class Clock:
    """Counts the processor time of this thread, which runs all decoding: see `Limits`.

    Wall time would make the same file readable on one machine and unreadable on a busier one. A
    decoder that waits for ever is for a watchdog outside to end.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._end = time.thread_time() + seconds

    def check(self) -> None:
        if time.thread_time() > self._end:
            raise MediaError(f"took more than {self._seconds:g} s to decode")
