"""A scheduler's request to stop: heard at any time, answered at one step that all processes share.

SIGTERM is what schedulers send; SIGUSR1 is what `sbatch --signal=USR1@120` sends beforehand.
Ctrl-C is no request to save: KeyboardInterrupt goes its usual way.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

from avssl.errors import Preempted, UsageError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preemption:
    """Listens from `with` to its end, which must be after the last save is finished.

    A second signal says nothing new and kills nothing, so a save under way is not lost. Enter it
    in the main thread and, with several processes, after `jax.distributed.initialize`.
    """

    def __init__(self) -> None:
        self._heard = False
        self._before: dict[signal.Signals, Any] = {}
        self._distributed = False

    def requested(self, step: int) -> bool:
        """Whether to save now and stop. With several processes: call at every step, on all.

        JAX's preemption service makes the answer True at one and the same step everywhere, a step
        or two after any of the processes was told.
        """
        if self._distributed:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._heard

    def __enter__(self) -> "Preemption":
        self._distributed = jax.distributed.is_initialized()
        if self._distributed and not jax.config.values["jax_enable_preemption_service"]:
            raise UsageError(
                "JAX_ENABLE_PREEMPTION_SERVICE is off, so the processes could not agree on the "
                "step to stop at; unset it"
            )
        for number in SIGNALS:
            # The service has a handler of its own for SIGTERM, in C++: one of ours would hide it.
            if not (self._distributed and number == signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if self._distributed:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._heard = True


@contextlib.contextmanager
def stopping_at_once() -> Iterator[None]:
    """Around what has nothing to save, before the loop and after it: a request ends it where it is.

    Not with several processes: one that leaves alone takes the others with it, so they wait for the loop.
    """
    if jax.distributed.is_initialized():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise Preempted("stopped on request, nothing was left to save; the same command goes on")

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
