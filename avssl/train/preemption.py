"""A scheduler's request to stop: heard at any time, answered at one step that all processes share.

SIGTERM is what schedulers send; SIGUSR1 is what `sbatch --signal=USR1@120` sends beforehand.
Ctrl-C is no request to save: KeyboardInterrupt goes its usual way.

With several processes JAX's preemption service has them agree. It hears SIGTERM by a handler of its own, in
C++, from `jax.distributed.initialize` on, which one of ours would hide; so SIGUSR1 is passed on as a SIGTERM.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from avssl.errors import Preempted, UsageError
from avssl.train.peers import leave_together

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
AT_ONCE = "stopped on request, nothing was left to save; the same command goes on"
# How often those are asked that have nothing to save.
ASK_SECONDS = 0.25

_numbers = itertools.count(1)


class StopAsked(Exception):  # noqa: N818 - not a failure
    """Leaves what takes long between two steps and can be done again: the loop saves the state before it."""


class Preemption:
    """Listens from `with` to its end, which must be after the last save is finished.

    A second signal says nothing new and kills nothing, so a save under way is not lost. Enter it
    in the main thread and, with several processes, after `jax.distributed.initialize`.
    """

    def __init__(self) -> None:
        self._heard = False
        self._before: dict[signal.Signals, Any] = {}
        self._distributed = False
        self._ends_at_once = False

    def requested(self) -> bool:
        """Whether to save now and stop. With several processes: call in the same places, on all."""
        return stop_agreed() if self._distributed else self._heard

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Around what takes long and comes when everything is saved: a request ends it where it is."""
        if self._distributed:
            with nothing_to_save():
                yield
            count_alike()
            return
        self._ends_at_once = True
        try:
            if self._heard:
                raise Preempted(AT_ONCE)
            yield
        finally:
            self._ends_at_once = False

    def __enter__(self) -> "Preemption":
        self._distributed = jax.distributed.is_initialized()
        if self._distributed and not jax.config.values["jax_enable_preemption_service"]:
            raise UsageError(
                "JAX_ENABLE_PREEMPTION_SERVICE is off, so the processes could not agree on the "
                "step to stop at; unset it"
            )
        for number in SIGNALS:
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
            return
        self._heard = True
        if self._ends_at_once:
            raise Preempted(AT_ONCE)


def stop_agreed() -> bool:
    """Whether all processes stop at this call, the n-th of each: True a call or two after any was told.

    Counted are calls and not steps: the service says True to the one number after the highest that any process
    has come to, and to no other. A run that goes on at step 500 would never come to the 1 of a request that it
    was sent while it started.
    """
    return multihost_utils.reached_preemption_sync_point(next(_numbers))


def count_alike() -> None:
    """To be called on all processes, whose threads have asked as often as their clocks said: the next call is
    that after the highest of any, which is where the service stops them if it was told since.
    """
    global _numbers
    counts = multihost_utils.process_allgather(np.int32(next(_numbers)))
    _numbers = itertools.count(int(np.max(counts)))


@contextlib.contextmanager
def stopping_at_once() -> Iterator[None]:
    """Around the whole of a command: outside the loop nothing is to save, and a request ends it where it is.

    Not with several processes: one that leaves alone takes the others with it. They have until the first step
    to hear of it; for the time after the last see `nothing_to_save`.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1 and jax.distributed.is_initialized():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            raise Preempted(AT_ONCE)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        # Several processes part at the end of their programs, and are not to die before that.
        if not jax.distributed.is_initialized():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Around the joining of the processes: a request waits until it is known whether one answers it, or all."""
    heard: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: heard.append(number)) for number in SIGNALS
    }
    try:
        yield
        del before[signal.SIGTERM]  # whose handler is that of JAX's service by now
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in heard[:1]:
            os.kill(os.getpid(), number)


@contextlib.contextmanager
def nothing_to_save() -> Iterator[None]:
    """Around what comes after a save, all of it written: a request ends several processes, too, where they are.

    A thread listens: most of them wait in a collective for the one that evaluates.
    """
    if not jax.distributed.is_initialized():
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_leave_when_asked, args=(over,), name="stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _leave_when_asked(over: threading.Event) -> None:
    began, calls = time.monotonic(), 0
    while not over.wait(ASK_SECONDS):
        # As many calls as by the clock, or a process that is busy would come to the agreed one much later.
        while calls * ASK_SECONDS < time.monotonic() - began and not over.is_set():
            calls += 1
            if stop_agreed():
                print(f"avssl: {AT_ONCE}", file=sys.stderr)
                leave_together(Preempted.exit_code)
