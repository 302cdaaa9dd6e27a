"""Batches on the device ahead of the step that uses them."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# How often a wait is interrupted for Ctrl-C.
LOOK_SECONDS = 1.0
# A read that is under way when the feed is closed may end by itself for this long.
JOIN_SECONDS = 5.0


class DeviceFeed(Iterator[Any]):
    """Takes batches and gives each to `place` in a background thread, `ahead` of the consumer.

    `wait_seconds` is the time that `next` has waited in total. An error in the thread is raised by
    `next`.
    """

    def __init__(self, batches: Any, place: Callable[[Any], Any], ahead: int = 2):
        self.wait_seconds = 0.0
        self._batches = batches
        self._place = place
        # One more is in the thread's hands.
        self._ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(max(1, ahead - 1))
        self._stop = threading.Event()
        self._error: BaseException | None = None
        # daemon: a decoder that hangs must not keep the interpreter from leaving.
        self._thread = threading.Thread(target=self._run, name="device-feed", daemon=True)
        self._thread.start()

    def __next__(self) -> Any:
        if self._error is not None:
            raise self._error
        if self._stop.is_set():
            raise RuntimeError("this DeviceFeed is closed")
        began = time.perf_counter()
        try:
            batch, error = self._wait()
        finally:
            self.wait_seconds += time.perf_counter() - began
        if error is not None:
            self._error = error
            raise error
        return batch

    def __enter__(self) -> "DeviceFeed":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread and closes `batches`; quick, whatever is being read."""
        if self._stop.is_set():
            return
        self._stop.set()
        if (close := getattr(self._batches, "close", None)) is not None:
            close()
        self._thread.join(JOIN_SECONDS)

    def _wait(self) -> tuple[Any, BaseException | None]:
        while True:
            try:
                return self._ready.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue

    def _run(self) -> None:
        try:
            for batch in self._batches:
                if self._stop.is_set():
                    return
                self._put(self._place(batch), None)
            self._put(None, StopIteration())
        except BaseException as error:
            # Also what a closed pipeline raises in here: then nobody asks any more.
            self._put(None, error)

    def _put(self, batch: Any, error: BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put((batch, error), timeout=0.1)
                return
            except queue.Full:
                continue
