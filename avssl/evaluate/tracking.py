"""Tracking: boxes of consecutive frames linked to tracks, and the tracks against objects with identities.

CLEAR-MOT (Bernardin & Stiefelhagen 2008) and IDF1 (Ristani et al. 2016, arXiv 1609.01775).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from avssl.data.boxes import Objects, overlaps
from avssl.errors import UsageError
from avssl.evaluate.detection import allowed_pairs
from avssl.evaluate.ranked import Times, share

IOU_THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Tracked(Objects):
    """What is in one frame, and which object or track each of it is."""

    identities: Int[np.ndarray, "n"]

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.identities.tolist())) != len(self.labels):
            raise ValueError(
                f"{len(self.labels)} boxes of one frame are {self.identities.tolist()}"
            )


@dataclasses.dataclass(frozen=True)
class Counts:
    """Of one clip, or the sums over several."""

    objects: int = 0  # true boxes of all frames
    found: int = 0  # boxes of tracks, of all frames
    misses: int = 0
    false_positives: int = 0
    switches: int = 0
    identified: int = 0  # true boxes whose track is the one that its object is matched with

    def __add__(self, other: "Counts") -> "Counts":
        ours, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Counts(*(a + b for a, b in zip(ours, theirs, strict=True)))

    @property
    def mota(self) -> float:
        """1 - (misses + false positives + switches) / objects: at most 1, and no least."""
        return 1 - (self.misses + self.false_positives + self.switches) / self.objects

    @property
    def idf1(self) -> float:
        return 2 * self.identified / (self.objects + self.found)


class Tracking:
    """`mota` and `idf1` of the counts of all clips together; a clip is a sequence of frames."""

    def __init__(
        self,
        found: Sequence[Sequence[Tracked]],
        truth: Sequence[Sequence[Tracked]],
        *,
        iou_threshold: float = IOU_THRESHOLD,
    ):
        self.clips = [
            counted(tracks, objects, iou_threshold=iou_threshold)
            for tracks, objects in zip(found, truth, strict=True)
        ]
        if not any(clip.objects for clip in self.clips):
            raise UsageError(
                f"tracking needs frames with objects; no frame of {len(truth)} clips has any"
            )

    def of_clips(self) -> dict[str, float]:
        total = sum(self.clips, Counts())
        return {"mota": total.mota, "idf1": total.idf1}

    def __call__(self, times: Times) -> dict[str, Float[np.ndarray, "r"]]:
        """Of clips that count so many times; NaN where there is no object."""
        counts = np.array([dataclasses.astuple(clip) for clip in self.clips], float).T @ times
        objects, found, misses, false_positives, switches, right = counts
        errors = misses + false_positives + switches
        # An object is in the data whether it was found or not.
        there = np.where(objects > 0, objects + found, 0)
        return {"mota": 1 - share(errors, objects), "idf1": share(2 * right, there)}


def linked(frames: Sequence[Objects], *, iou_threshold: float = IOU_THRESHOLD) -> list[Tracked]:
    """The boxes of one clip as tracks.

    Boxes of a class in two consecutive frames are paired one to one, if they overlap by the threshold at least:
    as many as there can be, with the greatest overlap in sum. A box without a partner in the frame before
    begins a track: nothing bridges a frame in which an object was not found.
    """
    tracks: list[Tracked] = []
    num_tracks = 0
    for frame in frames:
        identities = np.full(len(frame), -1, np.int64)
        if tracks:
            pairs = paired(tracks[-1], frame, iou_threshold)
            identities[list(pairs.values())] = tracks[-1].identities[list(pairs)]
        new = np.flatnonzero(identities < 0)
        identities[new] = num_tracks + np.arange(len(new))
        num_tracks += len(new)
        tracks.append(Tracked(frame.boxes, frame.labels, identities))
    return tracks


def counted(
    found: Sequence[Tracked],
    truth: Sequence[Tracked],
    *,
    iou_threshold: float = IOU_THRESHOLD,
) -> Counts:
    if len(found) != len(truth):
        raise ValueError(f"tracks of {len(found)} frames and objects of {len(truth)}")
    return Counts(
        sum(map(len, truth)),
        sum(map(len, found)),
        *clear_mot(found, truth, iou_threshold),
        identified(found, truth, iou_threshold),
    )


def clear_mot(
    found: Sequence[Tracked], truth: Sequence[Tracked], iou_threshold: float
) -> tuple[int, int, int]:
    """(misses, false positives, switches) of one clip.

    In each frame an object keeps the track that it had last, wherever both are there and overlap enough. The
    others are paired one to one (as many as there can be, with the least distance, 1 - overlap, in sum). An
    object that gets another track than it had last is a switch; what it had is remembered over frames in which
    it was lost.
    """
    misses = false_positives = switches = 0
    last: dict[int, int] = {}
    for tracks, objects in zip(found, truth, strict=True):
        near = matching(objects, tracks, iou_threshold)
        overlap = overlaps(objects.boxes, tracks.boxes)
        place_of = {track: place for place, track in enumerate(tracks.identities.tolist())}
        kept = {
            row: place_of[last[identity]]
            for row, identity in enumerate(objects.identities.tolist())
            if last.get(identity) in place_of and near[row, place_of[last[identity]]]
        }
        kept = first_of_each(kept)
        near[list(kept)] = False
        near[:, list(kept.values())] = False
        pairs = {**kept, **allowed_pairs(1 - overlap, near)}
        misses += len(objects) - len(pairs)
        false_positives += len(tracks) - len(pairs)
        for row, column in pairs.items():
            identity, track = int(objects.identities[row]), int(tracks.identities[column])
            switches += last.get(identity, track) != track
            last[identity] = track
    return misses, false_positives, switches


def first_of_each(pairs: dict[int, int]) -> dict[int, int]:
    """Two objects that had one track last, at different times: the first of them keeps it."""
    taken: set[int] = set()
    kept = {}
    for row, column in pairs.items():
        if column not in taken:
            kept[row] = column
            taken.add(column)
    return kept


def identified(found: Sequence[Tracked], truth: Sequence[Tracked], iou_threshold: float) -> int:
    """IDTP: true boxes that overlap the box of their object's track, by the one-to-one choice that has most.

    That choice costs least in missed and false boxes together, which is how the paper states it.
    """
    together: dict[tuple[int, int], int] = {}
    for tracks, objects in zip(found, truth, strict=True):
        near = matching(objects, tracks, iou_threshold)
        for row, column in np.argwhere(near).tolist():
            pair = int(objects.identities[row]), int(tracks.identities[column])
            together[pair] = together.get(pair, 0) + 1
    rows = {one: place for place, one in enumerate(sorted({one for one, _ in together}))}
    columns = {one: place for place, one in enumerate(sorted({one for _, one in together}))}
    frames = np.zeros((len(rows), len(columns)))
    for (one, other), count in together.items():
        frames[rows[one], columns[other]] = count
    # Of all choices, not of those with most pairs: every pair is allowed, and one that meets nowhere adds none.
    chosen = allowed_pairs(frames.max(initial=0.0) - frames, np.ones(frames.shape, bool))
    return int(sum(frames[row, column] for row, column in chosen.items()))


def matching(first: Objects, second: Objects, iou_threshold: float) -> Bool[np.ndarray, "n m"]:
    """Which boxes may be of one thing: of a class, and with enough overlap."""
    same = first.labels[:, None] == second.labels[None]
    return same & (overlaps(first.boxes, second.boxes) >= iou_threshold)


def paired(first: Objects, second: Objects, iou_threshold: float) -> dict[int, int]:
    distance: Float[np.ndarray, "n m"] = 1 - overlaps(first.boxes, second.boxes)
    return allowed_pairs(distance, matching(first, second, iou_threshold))
