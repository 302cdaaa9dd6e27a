"""Warnings for the person who watches a run: on stderr, without tearing a progress bar."""

import sys

from tqdm import tqdm


def warn(message: str) -> None:
    tqdm.write(f"avssl: {message}", file=sys.stderr)
    sys.stderr.flush()
