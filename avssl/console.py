"""What the person who started a run reads: one line at a time, never through a progress bar."""

import sys
from collections.abc import Container, Sequence

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
