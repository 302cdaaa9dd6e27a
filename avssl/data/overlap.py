"""Clips that are on both sides: of what was trained on and of what is scored."""

import hashlib

import numpy as np

from avssl.console import warn
from avssl.data.record import Source
from avssl.data.spec import parse
from avssl.media.container import opened_file
from avssl.media.errors import MediaError
from avssl.media.limits import DEFAULT_LIMITS

# Of the records with equal keys in two data sets, so many are compared by their media.
NUM_COMPARED = 32
BLOCK_BYTES = 2**20

Part = tuple[Source, np.ndarray]


def warn_of_shared(scored: Part, fitted: Part, purpose: str) -> None:
    """Says so where clips that are scored are among those of `purpose`."""
    if number := num_shared(scored, fitted):
        warn(
            f"{number} of the {len(scored[1])} clips of {scored[0].spec} that are scored are among those "
            f"{purpose} ({fitted[0].spec}): their numbers are of what was seen"
        )


def num_shared(scored: Part, fitted: Part) -> int:
    """How many of the first records are among the others, by their keys.

    In two data sets equal keys are names of files that lie in different folders: there some of them are
    compared by their media, and without two that are equal the sets share nothing. A set that was encoded
    anew is so not recognised.
    """
    ours, theirs = keys_of(*scored), keys_of(*fitted)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared or from_one_place(scored[0].spec, fitted[0].spec):
        return len(shared)
    places = np.unique(np.linspace(0, len(shared) - 1, NUM_COMPARED).astype(int))
    for key in (shared[place] for place in places):
        digest = media_digest(scored[0], ours[key])
        if digest is not None and digest == media_digest(fitted[0], theirs[key]):
            return len(shared)
    return 0


def keys_of(source: Source, indices: np.ndarray) -> dict[str, int]:
    return {source.key(index): index for index in np.asarray(indices).tolist()}


def from_one_place(spec: str, other: str) -> bool:
    """Whether the sources have a data set in common, whatever their splits."""
    places = [{(part.kind, part.path) for part in parse(one)} for one in (spec, other)]
    return not places[0].isdisjoint(places[1])


def media_digest(source: Source, index: int) -> bytes | None:
    """None for what cannot be read."""
    try:
        with opened_file(source[index].media, DEFAULT_LIMITS) as file:
            digest = hashlib.sha256()
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except (MediaError, OSError):
        return None
    return digest.digest()
