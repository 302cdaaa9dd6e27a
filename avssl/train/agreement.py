"""What the processes of a run must not find each on its own; all of them make these calls, in one order."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

WIDTH = 64


def agreed(number: int | None) -> int | None:
    """What process 0 found, a number from 0 on; what the others give is not looked at."""
    if jax.process_count() == 1:
        return number
    said = multihost_utils.broadcast_one_to_all(np.int32(-1 if number is None else number))
    return None if said < 0 else int(said)


def said_by_all(words: Sequence[str]) -> list[tuple[str, ...]]:
    """For each of our words, up to 64 letters of it, what each process has in its place."""
    if jax.process_count() == 1 or not words:
        return [(word,) for word in words]
    letters = np.array([list(word.encode()[:WIDTH].ljust(WIDTH)) for word in words], np.int32)
    everywhere = np.asarray(multihost_utils.process_allgather(letters)).swapaxes(0, 1)
    return [tuple(bytes(row.tolist()).decode().rstrip() for row in rows) for rows in everywhere]
