"""Pairs of clips for verification: are both of one person?"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from avssl.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Trials:
    """Places of two clips each, and whether their identity is the same."""

    first: Int[np.ndarray, "n"]
    second: Int[np.ndarray, "n"]
    same: Bool[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.same)


def draw_trials(
    identities: Int[np.ndarray, "clips"], *, num_pairs: int = 4000, seed: int = 0
) -> Trials:
    """Half the pairs are of one identity and half of two, none occurs twice or has a clip twice.

    Where fewer pairs of one kind exist, there are as many of both: the share is a half always.
    Clips without identity (negative) are in no pair.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(np.asarray(identities) >= 0)
    names, counts = np.unique(np.asarray(identities)[known], return_counts=True)
    num_same = int((counts * (counts - 1) // 2).sum())
    num_other = len(known) * (len(known) - 1) // 2 - num_same
    if not num_same or not num_other:
        raise UsageError(
            "verification needs two identities or more, one of them with two clips or more; "
            f"these {len(known)} clips are of {len(names)}"
        )
    of_each = min(max(num_pairs // 2, 1), num_same, num_other)
    same = np.concatenate([pairs_among(known[identities[known] == name]) for name in names])
    same = same[rng.permutation(len(same))[:of_each]]
    other: dict[tuple[int, int], None] = {}
    # Pairs of two persons are too many to be listed, and so many that few draws fail; only of small
    # sets all of them are wanted.
    while len(other) < of_each:
        drawn = np.sort(rng.choice(known, (2 * of_each, 2)), axis=1)
        drawn = drawn[identities[drawn[:, 0]] != identities[drawn[:, 1]]]
        other |= dict.fromkeys(map(tuple, drawn.tolist()))
    pairs = np.concatenate([same, np.array(list(other))[:of_each]])
    is_same = np.arange(2 * of_each) < of_each
    return Trials(pairs[:, 0], pairs[:, 1], is_same)


def pairs_among(members: Int[np.ndarray, "k"]) -> Int[np.ndarray, "pairs 2"]:
    first, second = np.triu_indices(len(members), k=1)
    return np.stack([members[first], members[second]], axis=1)
