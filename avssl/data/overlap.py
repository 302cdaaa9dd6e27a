"""Clips that are on both sides: of what was trained on and of what is scored."""

import numpy as np

from avssl.console import warn
from avssl.data.record import Source


def num_shared(
    source: Source, indices: np.ndarray, other: Source, other_indices: np.ndarray
) -> int:
    """How many of the first records have the key of one of the others, without reading any media."""
    keys = {source.key(index) for index in np.asarray(indices).tolist()}
    return len(keys.intersection(other.key(index) for index in np.asarray(other_indices).tolist()))


def warn_of_shared(
    scored: tuple[Source, np.ndarray], fitted: tuple[Source, np.ndarray], purpose: str
) -> None:
    """Says so where clips that are scored are among those of `purpose`. Keys are names: equal ones of two data
    sets may be of different clips, which only their owner knows."""
    if number := num_shared(*scored, *fitted):
        warn(
            f"{number} of the {len(scored[1])} clips of {scored[0].spec} that are scored have the keys of "
            f"clips {purpose} ({fitted[0].spec}): if these are the same, the numbers are of what was seen"
        )
