"""Boxes of objects: how far they overlap, which say the same thing twice, and what a view shows of them.

Boxes are x0, y0, x1, y1, in shares of the picture or in any other unit.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

Boxes = Float[np.ndarray, "n 4"]


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


def boxes_in_view(
    boxes: Boxes, view_box: Float[np.ndarray, "4"], flip: bool, *, least_share: float = 0.0
) -> Boxes:
    """Boxes in shares of the frame, as shares of a view of it; what lies beyond the view is cut off.

    `view_box` and `flip` are a row of `batch["geometry"][view]`. A box of which no more than
    `least_share` of its area is in the view is left out.
    """
    moved, kept = moved_into_view(boxes, view_box, flip, least_share)
    return moved[kept]


def objects_in_view(
    objects: Objects, view_box: Float[np.ndarray, "4"], flip: bool, *, least_share: float = 0.0
) -> Objects:
    """`boxes_in_view` of objects, with their classes."""
    moved, kept = moved_into_view(objects.boxes, view_box, flip, least_share)
    return Objects(moved[kept], objects.labels[kept])


def moved_into_view(
    boxes: Boxes, view_box: Float[np.ndarray, "4"], flip: bool, least_share: float
) -> tuple[Boxes, Bool[np.ndarray, "n"]]:
    """All boxes as the view has them, and which of them are in it."""
    boxes, view_box = np.asarray(boxes, np.float64), np.asarray(view_box, np.float64)
    origin, extent = view_box[:2], view_box[2:] - view_box[:2]
    if not (extent > 0).all():
        raise ValueError(f"the view has no extent: {view_box}; is it of a row that is not present?")
    moved = (boxes.reshape(-1, 2, 2) - origin) / extent
    if flip:
        moved[:, :, 0] = 1 - moved[:, ::-1, 0]
    seen = np.clip(moved, 0, 1)
    areas, seen_areas = (np.prod(b[:, 1] - b[:, 0], axis=1) for b in (moved, seen))
    return seen.reshape(-1, 4), seen_areas > least_share * areas
