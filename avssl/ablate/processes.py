"""Commands of an ablation, each in a process of its own; a request to stop reaches all of them."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from avssl.train.preemption import SIGNALS


class Processes:
    """Entered in the main thread, which alone hears signals; `call` may come from any.

    A request to stop goes on to every process, which saves before it ends. Left by an exception (Ctrl-C),
    nobody would look after them: they are ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[subprocess.Popen] = set()
        self._requested: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Processes":
        self._before = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is not None and self._requested is None:
            self._pass_on(signal.SIGTERM, None)

    def call(self, words: Sequence[str], log: Path) -> tuple[int, bool]:
        """`avssl WORDS` into a log: its exit status, and whether somebody asked for a stop."""
        command = [sys.executable, "-m", "avssl.cli", *words]
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
            with self._lock:
                self._live.add(process)
            # Since it was started, or before.
            if self._requested is not None:
                process.send_signal(self._requested)
            try:
                return process.wait(), self._requested is not None
            finally:
                with self._lock:
                    self._live.discard(process)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._requested = number
        # Not under the lock, which the thread that was interrupted may hold.
        for process in tuple(self._live):
            process.send_signal(number)
