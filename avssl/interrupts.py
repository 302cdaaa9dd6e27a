"""Ctrl-C and a scheduler's request to stop that are not lost."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from avssl.errors import Preempted

AGAIN_SECONDS = 0.05
SIGNAL_OF = {KeyboardInterrupt: signal.SIGINT, Preempted: signal.SIGTERM}


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Raises a KeyboardInterrupt or a Preempted anew where Python dropped it.

    In garbage collection, finalisers and callbacks of weak references nobody can catch an
    exception: Python prints it and goes on. JAX collects garbage often enough for one Ctrl-C in
    ten to vanish.
    """
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        for kind, number in SIGNAL_OF.items():
            if issubclass(dropped.exc_type, kind):
                # Later and from outside: raised here, it would be dropped again.
                threading.Timer(AGAIN_SECONDS, signal_main, (number,)).start()
                return
        before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def signal_main(number: signal.Signals) -> None:
    """A real signal, which also ends a system call that the main thread is in."""
    main = threading.main_thread().ident
    assert main is not None
    # Where nobody listens any more, what was to be stopped has ended by itself.
    if signal.getsignal(number) != signal.SIG_DFL:
        signal.pthread_kill(main, number)
