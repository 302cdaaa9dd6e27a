"""What the person who started a run reads: one line at a time, never through a progress bar."""

import sys

from tqdm import tqdm


def say(message: str) -> None:
    print(message, file=sys.stdout, flush=True)


def warn(message: str) -> None:
    tqdm.write(f"avssl: {message}", file=sys.stderr)
    sys.stderr.flush()
