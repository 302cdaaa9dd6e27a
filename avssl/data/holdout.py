"""Setting records aside, by their keys alone."""

import hashlib

import numpy as np

from avssl.data.record import Source
from avssl.errors import UsageError


def split_holdout(source: Source, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held out): int64 indices, each in order.

    A record is held out if the hash of its key lies below the fraction: neither order nor the other
    records matter, so that a growing data set never moves a record from one side to the other. At
    least one record stays on each side.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"data.holdout_fraction is {fraction}; it must lie in 0 <= f < 1")
    if fraction == 0:
        return np.arange(len(source), dtype=np.int64), np.zeros(0, np.int64)
    places = np.array([_place(source.key(index)) for index in range(len(source))])
    held_out = places < fraction
    if len(places) < 2:
        raise UsageError(f"{source.spec} has {len(places)} records: none can be held out")
    held_out[places.argmin()] = True
    held_out[places.argmax()] = False
    return np.flatnonzero(~held_out).astype(np.int64), np.flatnonzero(held_out).astype(np.int64)


def _place(key: str) -> float:
    """The key's place in [0, 1)."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
