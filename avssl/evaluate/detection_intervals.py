"""How far average precisions of boxes would move with other pictures: see `intervals.py`."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from avssl.data.boxes import Detections, Objects
from avssl.evaluate.detection import hits, iou_thresholds, with_objects
from avssl.evaluate.intervals import Interval, intervals_of
from avssl.evaluate.ranked import Times, mean_of_known, share

PRECISIONS = ("map", "map_50", "map_75", "precision_50", "recall_50")


def precision_intervals(
    found: Sequence[Detections],
    truth: Sequence[Objects],
    values: Mapping[str, float],
    *,
    released: bool = False,
) -> dict[str, Interval]:
    """Of `PRECISIONS`, which `detection` measures."""
    if released:
        found, truth = with_objects(found, truth)
    precisions = Precisions(found, truth, released=released)
    wanted = {metric: values[metric] for metric in PRECISIONS if metric in values}
    work = len(iou_thresholds(released)) * sum(len(one) for one in found) + len(found)
    return intervals_of(precisions, wanted, len(found), num_elements=work)


class Precisions:
    """`map` and so on of pictures that count so many times; a class without objects is no part of a mean."""

    def __init__(
        self, found: Sequence[Detections], truth: Sequence[Objects], *, released: bool = False
    ):
        self.thresholds = iou_thresholds(released).tolist()
        pictures = np.repeat(np.arange(len(found)), [len(one) for one in found])
        labels = np.concatenate([one.labels for one in found])
        scores = np.concatenate([one.scores for one in found])
        right = np.stack(
            [
                np.concatenate(
                    [
                        hits(f, t, iou_threshold=threshold, released=released)
                        for f, t in zip(found, truth, strict=True)
                    ]
                )
                for threshold in self.thresholds
            ]
        )
        self.classes: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for label in np.unique(np.concatenate([objects.labels for objects in truth])).tolist():
            own = np.flatnonzero(labels == label)
            order = own[np.argsort(-scores[own], kind="stable")]
            num_objects = np.array([np.count_nonzero(one.labels == label) for one in truth])
            self.classes.append((pictures[order], right[:, order], num_objects))

    def __call__(self, times: Times) -> dict[str, Float[np.ndarray, "r"]]:
        of_classes = np.stack([precisions_of(*one, times) for one in self.classes])
        by_threshold = np.stack(
            [mean_of_known(of_classes[:, t]) for t in range(len(self.thresholds))]
        )
        at = {round(100 * t): place for place, t in enumerate(self.thresholds)}
        right = [right_of(*one, times, at[50]) for one in self.classes]
        return {
            "map": by_threshold.mean(axis=0),
            "map_50": by_threshold[at[50]],
            "map_75": by_threshold[at[75]],
            "precision_50": mean_of_known(np.stack([precision for precision, _ in right])),
            "recall_50": mean_of_known(np.stack([recall for _, recall in right])),
        }


def right_of(
    pictures: np.ndarray, right: np.ndarray, num_objects: np.ndarray, times: Times, at: int
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r"]]:
    """Precision and recall of all detections of a class, as `detection.class_scores`."""
    counted, total = times[pictures].astype(np.float64), num_objects @ times.astype(np.float64)
    hit = counted[right[at]].sum(axis=0)
    # Of no detection the precision is 0, of no object nothing is known.
    precision = hit / np.maximum(counted.sum(axis=0), 1)
    return np.where(total > 0, precision, np.nan), share(hit, total)


def precisions_of(
    pictures: np.ndarray, right: np.ndarray, num_objects: np.ndarray, times: Times
) -> Float[np.ndarray, "thresholds r"]:
    """As `detection.area_under_precision`."""
    times = times.astype(np.float64)
    counted, total = times[pictures], num_objects @ times
    said = np.maximum(np.cumsum(counted, axis=0), 1)
    found = []
    for hit in right:
        own = np.where(hit[:, None], counted, 0.0)
        precision = np.cumsum(own, axis=0) / said
        best_from_here = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        found.append(share((best_from_here * own).sum(axis=0), total))
    return np.stack(found)
