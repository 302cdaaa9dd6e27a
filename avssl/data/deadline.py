"""A hard end for work on one file, in a child process that may be lost."""

import contextlib
import signal
from collections.abc import Iterator

from avssl.media.sandbox import Failure

# Processor time counts, as in `avssl.media.clock`. What only waits has this many times as long:
# nobody can tell a decoder that waits for ever from a paused machine.
WAITING_FACTOR = 10


@contextlib.contextmanager
def killed_after(seconds: float) -> Iterator[None]:
    """Kills this process if the block computes for longer: for children of a `ChildPool` only.

    The decoders have a clock of their own and stop in time where they can. The default action of a
    signal is for where they cannot: it needs no Python, which a library that hangs never lets run.
    Unlike the pool's own limit it can depend on how long the file turns out to be.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAITING_FACTOR * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def reason_of(failure: Failure) -> str:
    """The failure's reason, with the deadline's signal in words."""
    hangs = any(kind.name in failure.reason for kind in (signal.SIGPROF, signal.SIGALRM))
    return "hangs the decoder" if hangs else failure.reason
