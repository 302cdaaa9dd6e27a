"""Detection: boxes that a model found against the objects of each picture.

`released=True` repeats what the evaluator of MM-DistillNet does (Valverde et al. 2021, arXiv
2103.01353; code: `src/utils/utils.py`), for comparison with its table. It wants boxes in pixels.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from avssl.data.boxes import Detections, Objects, overlaps
from avssl.errors import UsageError

# COCO's thresholds. "AP@Ave" of MM-DistillNet lacks the last one.
IOU_THRESHOLDS = np.arange(10, 20) / 20
RELEASED_IOU_THRESHOLDS = IOU_THRESHOLDS[:-1]


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """Of one class at one threshold; precision and recall are of all its detections."""

    average_precision: float
    precision: float
    recall: float


def detection(
    found: Sequence[Detections],
    truth: Sequence[Objects],
    *,
    width: float = 1.0,
    height: float = 1.0,
    released: bool = False,
) -> dict[str, float]:
    """Scores of the detections of some pictures of that size, in the unit of the boxes.

    - `map`: mean over thresholds and classes of the average precision (`class_scores`).
    - `map_50`, `map_75`: at one threshold.
    - `precision_50`, `recall_50`: of all detections at 0.5, mean over classes.
    - `center_distance_x`, `center_distance_y`: mean over pictures with objects (`center_distances`).
    """
    if len(found) != len(truth):
        raise ValueError(f"detections of {len(found)} pictures and objects of {len(truth)}")
    if not any(len(objects) for objects in truth):
        raise UsageError(f"detection needs pictures with objects; none of the {len(truth)} has any")

    by_threshold = {
        threshold: class_scores(found, truth, iou_threshold=threshold, released=released)
        for threshold in iou_thresholds(released).tolist()
    }

    def mean(threshold: float, name: str) -> float:
        return float(np.mean([getattr(one, name) for one in by_threshold[threshold].values()]))

    distances = center_distances(found, truth, width=width, height=height, released=released)
    return {
        "map": float(np.mean([mean(t, "average_precision") for t in by_threshold])),
        "map_50": mean(0.5, "average_precision"),
        "map_75": mean(0.75, "average_precision"),
        "precision_50": mean(0.5, "precision"),
        "recall_50": mean(0.5, "recall"),
        "center_distance_x": float(distances[:, 0].mean()),
        "center_distance_y": float(distances[:, 1].mean()),
    }


def class_scores(
    found: Sequence[Detections],
    truth: Sequence[Objects],
    *,
    iou_threshold: float,
    released: bool = False,
) -> dict[int, ClassScores]:
    """Average precision of every class that the truth has, over all pictures together.

    Detections count from the surest on, equal ones in their order; see `hits` for what is right.
    `released`: pictures without any object are left out, and with them what is found there.
    """
    if released:
        found, truth = with_objects(found, truth)
    right = [
        hits(f, t, iou_threshold=iou_threshold, released=released)
        for f, t in zip(found, truth, strict=True)
    ]
    right = np.concatenate(right)
    scores = np.concatenate([objects.scores for objects in found])
    labels = np.concatenate([objects.labels for objects in found])
    true_labels = np.concatenate([objects.labels for objects in truth])
    results = {}
    for label in np.unique(true_labels).tolist():
        own = labels == label
        num_objects = int((true_labels == label).sum())
        results[label] = ClassScores(
            average_precision=area_under_precision(right[own], scores[own], num_objects),
            precision=float(right[own].mean()) if own.any() else 0.0,
            recall=float(right[own].sum() / num_objects),
        )
    return results


def iou_thresholds(released: bool) -> Float[np.ndarray, "t"]:
    return RELEASED_IOU_THRESHOLDS if released else IOU_THRESHOLDS


def with_objects(
    found: Sequence[Detections], truth: Sequence[Objects]
) -> tuple[list[Detections], list[Objects]]:
    """The pictures that have any object."""
    kept = [(f, t) for f, t in zip(found, truth, strict=True) if len(t)]
    return [f for f, _ in kept], [t for _, t in kept]


def hits(
    found: Detections, truth: Objects, *, iou_threshold: float, released: bool = False
) -> Bool[np.ndarray, "n"]:
    """Which detections of one picture are right.

    The surest first, each takes the object of its class that it overlaps most among those not yet
    taken, if by `iou_threshold` at least. An object is found once.

    `released`: in the order given (after `suppressed` the surest come first anyway); each looks at
    the object it overlaps most, of whatever class, taken or not, and is wrong if that is taken; its
    own class must only be somewhere in the picture.
    """
    right, taken = np.zeros(len(found), bool), np.zeros(len(truth), bool)
    if not len(truth):
        return right
    overlap = overlaps(found.boxes, truth.boxes, inclusive=released)
    order = range(len(found)) if released else np.argsort(-found.scores, kind="stable")
    for place in order:
        if released:
            eligible = np.full(len(truth), found.labels[place] in truth.labels)
        else:
            eligible = (truth.labels == found.labels[place]) & ~taken
        if not eligible.any():
            continue
        best = int(np.argmax(np.where(eligible, overlap[place], -1.0)))
        if overlap[place, best] >= iou_threshold and not taken[best]:
            right[place] = taken[best] = True
    return right


def area_under_precision(
    right: Bool[np.ndarray, "n"], scores: Float[np.ndarray, "n"], num_objects: int
) -> float:
    """Area under precision over recall, at all points: precision as the best at that recall or more."""
    right = right[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    # Each right detection raises the recall by one object.
    return float(best_from_here[right].sum() / num_objects)


def center_distances(
    found: Sequence[Detections],
    truth: Sequence[Objects],
    *,
    width: float = 1.0,
    height: float = 1.0,
    released: bool = False,
) -> Float[np.ndarray, "pictures 2"]:
    """How far detections lie from objects, across and down, in shares of the picture.

    Of each picture with objects the mean over them of |x - x'| / width and |y - y'| / height
    between the middles of an object and its detection (Gan et al. 2019, arXiv 1910.11760, as
    recalled). Those of a class are paired one to one so that distances are least in sum; an object
    that is left without counts 1 both ways, as if the whole picture lay between.

    `released`: not middles but sizes are compared (x1 - x0, y1 - y0); in the order of the objects
    each takes the nearest detection of its class not yet taken, or counts its own size.
    """
    scale = np.array([width, height], np.float64)
    rows = []
    for detections, objects in zip(found, truth, strict=True):
        if not len(objects):
            continue
        sides = np.array([-1.0, 1.0] if released else [0.5, 0.5])
        points, others = (
            np.einsum("s,nsd->nd", sides, one.boxes.reshape(-1, 2, 2))
            for one in (objects, detections)
        )
        same = objects.labels[:, None] == detections.labels[None]
        distance = np.abs(points[:, None] - others[None])
        missed = points if released else np.broadcast_to(scale, points.shape)
        pairs = greedy_pairs(distance, same) if released else least_pairs(distance / scale, same)
        errors = missed.copy()
        for place, partner in pairs.items():
            errors[place] = distance[place, partner]
        rows.append(errors.mean(axis=0) / scale)
    return np.array(rows).reshape(-1, 2)


def least_pairs(
    distance: Float[np.ndarray, "n m 2"], same: Bool[np.ndarray, "n m"]
) -> dict[int, int]:
    """Pairs of one class so that the sum of Euclidean distances is least, as many as there can be."""
    return allowed_pairs(np.linalg.norm(distance, axis=2), same)


def allowed_pairs(
    cost: Float[np.ndarray, "n m"], allowed: Bool[np.ndarray, "n m"]
) -> dict[int, int]:
    """One to one, as many of the allowed pairs as there can be, and of these choices the least in sum."""
    cost = np.where(allowed, cost, 0.0)
    # More than all allowed pairs could cost together.
    forbidden = 1.0 + cost.sum()
    rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
    return {r: c for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if allowed[r, c]}


def greedy_pairs(
    distance: Float[np.ndarray, "n m 2"], same: Bool[np.ndarray, "n m"]
) -> dict[int, int]:
    free, pairs = np.ones(distance.shape[1], bool), {}
    length = np.linalg.norm(distance, axis=2)
    for place in range(len(distance)):
        eligible = same[place] & free
        if eligible.any():
            pairs[place] = int(np.argmin(np.where(eligible, length[place], np.inf)))
            free[pairs[place]] = False
    return pairs
