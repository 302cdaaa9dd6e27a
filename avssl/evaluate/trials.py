"""Pairs of clips for verification: are both of one person?"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from avssl.console import say
from avssl.data.record import Source, truth_of
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
    identities = np.asarray(identities)
    known = np.flatnonzero(identities >= 0)
    # By identity, so that the partners of each clip, of either kind, are one stretch after it.
    clips = known[np.argsort(identities[known], kind="stable")]
    place = np.arange(len(clips))
    end = np.searchsorted(identities[clips], identities[clips], side="right")
    num_same, num_other = int((end - place - 1).sum()), int((len(clips) - end).sum())
    if not num_same or not num_other:
        raise UsageError(
            "verification needs two identities or more, one of them with two clips or more; "
            f"these {len(clips)} clips are of {len(np.unique(identities[clips]))}"
        )
    of_each = min(max(num_pairs // 2, 1), num_same, num_other)
    rng = np.random.default_rng(seed)
    same = draw_pairs(rng, of_each, begin=place + 1, end=end)
    other = draw_pairs(rng, of_each, begin=end, end=np.full_like(end, len(clips)))
    pairs = np.sort(clips[np.concatenate([same, other])], axis=1)
    return Trials(pairs[:, 0], pairs[:, 1], np.arange(2 * of_each) < of_each)


def draw_pairs(
    rng: np.random.Generator,
    num_pairs: int,
    *,
    begin: Int[np.ndarray, "n"],
    end: Int[np.ndarray, "n"],
) -> Int[np.ndarray, "pairs 2"]:
    """Different ones of the pairs of a place and another of `begin` to `end`, its partners.

    The pairs are numbered and never listed: thousands of clips of one person have millions.
    """
    last = np.cumsum(end - begin)
    number = rng.choice(last[-1], num_pairs, replace=False)
    first = np.searchsorted(last, number, side="right")
    return np.stack([first, end[first] - (last[first] - number)], axis=1)


def trials_of(
    part: tuple[Source, Int[np.ndarray, "m"]],
    indices: Int[np.ndarray, "n"],
    identities: Int[np.ndarray, "n"],
) -> Trials:
    """Those that the source lists; of one that lists none, pairs drawn from the records' identities.

    `indices`: the records of the part that could be used.
    """
    source, asked = part
    if any("trials" in truth_of(source, index) for index in asked.tolist()):
        return listed_trials(source, asked, indices)
    return draw_trials(identities)


def listed_trials(
    source: Source, asked: Int[np.ndarray, "m"], indices: Int[np.ndarray, "n"]
) -> Trials:
    """The pairs of a trial list (VoxCeleb) among these records, as places in `indices`.

    A pair of which one record is not among them is left out, and counted if the records asked for list it.
    """
    place = {source.key(index): row for row, index in enumerate(indices.tolist())}
    pairs = [
        (source.key(index), other, same)
        for index in asked.tolist()
        for other, same in truth_of(source, index).get("trials", ())
    ]
    found = [
        (place[key], place[other], same)
        for key, other, same in pairs
        if key in place and other in place
    ]
    if lost := len(pairs) - len(found):
        say(
            f"identity: {lost} of {len(pairs)} listed pairs are left out, as a clip of them is not used"
        )
    if not found:
        raise UsageError(
            f"{source.spec} names no pairs of persons to verify; a trial list does, as "
            "'voxceleb:PATH@veri_test2'"
        )
    first, second, same = (np.array(column) for column in zip(*found, strict=True))
    return Trials(first, second, same.astype(bool))
