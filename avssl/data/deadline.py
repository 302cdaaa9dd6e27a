"""A hard end for work on one file, in a child process that may be lost."""

import contextlib
import signal
from collections.abc import Iterator

from avssl.media.sandbox import Failure


@contextlib.contextmanager
def killed_after(seconds: float) -> Iterator[None]:
    """Kills this process if the block takes longer: for children of a `ChildPool` only.

    The decoders have a clock of their own and stop in time where they can. SIGALRM's default action
    is for where they cannot: it needs no Python, which a library that hangs never lets run. Unlike
    the pool's own limit it can depend on how long the file turns out to be.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def reason_of(failure: Failure) -> str:
    """The failure's reason, with the deadline's signal in words."""
    return "hangs the decoder" if signal.SIGALRM.name in failure.reason else failure.reason
