"""What the person who started a run reads: one line at a time, never through a progress bar."""

import contextlib
import os
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, TextIO

from tqdm import tqdm


def say(message: str) -> None:
    print(message, file=sys.stdout, flush=True)


def aligned(lines: Sequence[Sequence[str]], left: Container[int] = ()) -> list[str]:
    """A table in plain text; the columns in `left` begin where they begin, the others end where they end."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def warn(message: str) -> None:
    tqdm.write(f"avssl: {message}", file=sys.stderr)
    sys.stderr.flush()


class Readers:
    """Around a command: whoever reads it may leave, a `head` that has enough or a `tee` that was killed.

    A command that only prints ends then, with 0; one that works goes on, and what it says goes nowhere. This is
    done where stdout and stderr are written, since a BrokenPipeError that is caught further out may as well be
    that of a worker's pipe, or of a socket.
    """

    only_prints = True

    def __enter__(self) -> "Readers":
        self._before = sys.stdout, sys.stderr
        # A failure that nobody reads keeps its exit code: stderr ends nothing.
        self._streams = Heard(sys.stdout, self._end), Heard(sys.stderr, lambda: None)
        set_streams(*self._streams)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # Here, and not by Python at its end, which would complain and exit with 120.
            for stream in self._streams:
                stream.flush()
        finally:
            set_streams(*self._before)

    def _end(self) -> None:
        if self.only_prints:
            raise SystemExit(0)


class Heard:
    """A stream that stays silent from the moment its reader has gone; then it calls `left`."""

    def __init__(self, stream: TextIO, left: Callable[[], None]):
        self._stream = stream
        self._left = left

    def write(self, text: str) -> int:
        with self._while_read():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._while_read():
            self._stream.flush()

    @contextlib.contextmanager
    def _while_read(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # The descriptor: what the stream still holds, and what child processes say, goes there as well.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._left()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def set_streams(out: Any, err: Any) -> None:
    sys.stdout, sys.stderr = out, err
