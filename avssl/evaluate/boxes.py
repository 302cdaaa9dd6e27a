"""Boxes of objects: how far they overlap, and which of a detector's say the same thing twice.

Boxes are x0, y0, x1, y1, in shares of the picture or in any other unit.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class Objects:
    """What is in one picture."""

    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, "n"]

    def __post_init__(self):
        if self.boxes.shape != (len(self.labels), 4):
            raise ValueError(
                f"boxes of shape {self.boxes.shape} for {len(self.labels)} labels; "
                f"expected ({len(self.labels)}, 4)"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Detections(Objects):
    """What a detector found in one picture, and how sure it is."""

    scores: Float[np.ndarray, "n"]

    def __post_init__(self):
        super().__post_init__()
        if len(self.scores) != len(self.labels):
            raise ValueError(f"{len(self.scores)} scores for {len(self.labels)} labels")


def overlaps(
    first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"], *, inclusive: bool = False
) -> Float[np.ndarray, "n m"]:
    """Intersection over union; 0 of boxes without area.

    `inclusive`: corners are pixels that belong to their box, which makes it one pixel larger.
    """
    extra = 1.0 if inclusive else 0.0
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low + extra, 0.0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2] + extra, axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppressed(
    found: Detections, *, iou_threshold: float = 0.5, by_class: bool = True
) -> Detections:
    """Non-maximum suppression: what is left, the surest first.

    A detection goes if a surer one that stays (of its class, with `by_class`) overlaps it by more
    than the threshold. Of equally sure ones the first stays.
    """
    order = np.argsort(-found.scores, kind="stable")
    overlap = overlaps(found.boxes, found.boxes)
    if by_class:
        overlap = np.where(found.labels[:, None] == found.labels[None], overlap, 0.0)
    kept: list[int] = []
    for place in order.tolist():
        if not (overlap[place, kept] > iou_threshold).any():
            kept.append(place)
    return Detections(found.boxes[kept], found.labels[kept], found.scores[kept])
