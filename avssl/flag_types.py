"""What the values of command-line flags may be; argparse names the flag beside the words of these."""

import argparse
import re
import tempfile
from collections.abc import Callable
from pathlib import Path


def at_least(lowest: int) -> Callable[[str], int]:
    """The type of a flag that counts something."""

    def parse_count(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"must be a number of at least {lowest}, not '{text}'")
        return int(text)

    return parse_count


def numbers_of(text: str) -> tuple[int, ...]:
    """The type of a flag that lists numbers."""
    return tuple(at_least(0)(part) for part in text.split(",") if part)


def steps_between(text: str) -> tuple[int, int]:
    """The type of a flag that names steps of a run: `steps=10:15`."""
    found = re.fullmatch(r"steps=(\d+):(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(
            f"must be steps=FIRST:LAST, from the first step (1 or later) to the last, not '{text}'"
        )
    return int(found[1]), int(found[2])


def shard(text: str) -> tuple[int, int]:
    """The type of a flag that names a part of several: `0/4` is the first of four."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 0 to N - 1, not '{text}'")
    return int(number), int(count)


def writable_file(text: str) -> Path:
    """The type of a flag that names a file which is written when all else is done: asked before anything is."""
    file = Path(text)
    try:
        # Nothing is made under its name: another process may begin the same file in this moment.
        tempfile.TemporaryFile(dir=file.parent).close()
        if file.exists():
            file.open("ab").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"must be a file in a folder that is there and may be written, not '{text}' ({error.strerror})"
        ) from error
    return file
