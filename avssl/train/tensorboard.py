"""Scalars for TensorBoard, without TensorFlow and without PyTorch."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Each flush waits for the disk, and metrics.jsonl has every line already.
FLUSH_SECONDS = 10.0


class Events:
    """Written in the caller's thread.

    tensorboardX's SummaryWriter hands them to a thread of its own; once the disk is full that
    thread is dead, its queue fills, and the run would wait on it for ever.
    """

    def __init__(self, folder: Path, resume_step: int):
        with _without_torch():
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2, summary_pb2
        messages = vars(event_pb2) | vars(summary_pb2)
        self._event, self._summary = messages["Event"], messages["Summary"]
        folder.mkdir(exist_ok=True)
        # The name holds only whole seconds: a quick restart must not overwrite the file before.
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        self._flushed = 0.0
        session = messages["SessionLog"]
        # Tells TensorBoard to forget what an earlier process wrote from this step on.
        self._writer.write_event(
            self._event(step=resume_step + 1, session_log=session(status=session.START))
        )

    def write(self, row: Mapping[str, Any]) -> None:
        numbers = {
            key: value
            for key, value in row.items()
            if key != "step" and isinstance(value, (int, float))
        }
        values = [self._summary.Value(tag=key, simple_value=x) for key, x in numbers.items()]
        event = self._event(step=row["step"], summary=self._summary(value=values))
        event.wall_time = time.time()
        self._writer.write_event(event)
        if event.wall_time - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = event.wall_time

    def close(self) -> None:
        self._writer.close()


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """tensorboardX imports PyTorch wherever it is installed, which takes seconds and memory."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torch"]
