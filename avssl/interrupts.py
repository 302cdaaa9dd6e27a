"""Ctrl-C that is not lost."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

AGAIN_SECONDS = 0.05


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Raises a KeyboardInterrupt anew where Python dropped it.

    In garbage collection, finalisers and callbacks of weak references nobody can catch an
    exception: Python prints it and goes on. JAX collects garbage often enough for one Ctrl-C in
    ten to vanish.
    """
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # Later and from outside: raised here, it would be dropped again.
            threading.Timer(AGAIN_SECONDS, interrupt_main).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def interrupt_main() -> None:
    """A real signal, which also ends a system call that the main thread is in."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)
