"""Where the sound is: heat maps over a picture against the boxes of what sounds in it.

The protocol of SoundNet-Flickr (Senocak et al. 2018, arXiv 1803.03849, section 4.1; as recalled, not
verified). Boxes are x0, y0, x1, y1 in shares of the picture.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from avssl.data.boxes import Boxes
from avssl.errors import UsageError
from avssl.evaluate.heat_maps import Interpolation, resize, scaled

# Pixels along a side of the picture that maps are resized to.
PICTURE_SIZE = 224
HIT_CIOU = 0.5
SUCCESS_THRESHOLDS = np.arange(21) / 20

MEDIANS = ("median", "median_with_ties")
Threshold = float | Literal["median", "median_with_ties"]

# What released evaluators do otherwise: the arguments of `localization`. LVS (H. Chen et al. 2021,
# arXiv 2104.02691), EZ-VSL (Mo and Morgado 2022, arXiv 2203.09324), and what EZ-VSL and AVL choose
# their best epoch by, on the test set.
RELEASED = {
    "lvs": {"threshold": "median"},
    "ez_vsl": {"threshold": "median_with_ties", "interpolation": "bilinear_corners"},
    "ez_vsl_training": {"threshold": "median_with_ties", "interpolation": "bicubic"},
}
# Of these, whose pictures are whole frames without their aspect, where LVS's are centre crops.
SQUASHING = ("ez_vsl", "ez_vsl_training")


def localization(
    heats: Sequence[Float[np.ndarray, "h w"]],
    boxes: Sequence[Boxes],
    *,
    size: int = PICTURE_SIZE,
    consensus: int = 1,
    threshold: Threshold = 0.5,
    interpolation: Interpolation = "bilinear",
) -> dict[str, float]:
    """Means over clips of what `localization_by_clip` gives, which has the same arguments.

    `consensus` is 2 on Flickr-SoundNet and 1 on VGG-SS (the data set code that EZ-VSL released does
    not hand that on, and takes 2 on both). `RELEASED` has the threshold and the resizing of published
    numbers; those of object-guided maps are of maps that `fused` made.

    - `ciou`: the share of clips whose cIoU (see `consensus_iou`) is at least 0.5.
    - `ciou_auc`: the area under the share of clips with at least t, for t = 0, 0.05, ..., 1.
    - `mean_ciou`.
    - `pointing`: the share of clips whose largest heat lies in a box (see `pointing`).
    """
    found = localization_by_clip(
        heats,
        boxes,
        size=size,
        consensus=consensus,
        threshold=threshold,
        interpolation=interpolation,
    )
    return {metric: float(np.mean(of_clips)) for metric, of_clips in found.items()}


def localization_by_clip(
    heats: Sequence[Float[np.ndarray, "h w"]],
    boxes: Sequence[Boxes],
    *,
    size: int = PICTURE_SIZE,
    consensus: int = 1,
    threshold: Threshold = 0.5,
    interpolation: Interpolation = "bilinear",
) -> dict[str, Float[np.ndarray, "scorable"]]:
    """Heat map and boxes of each clip; those that are not `scorable` are left out."""
    if len(heats) != len(boxes):
        raise ValueError(f"{len(heats)} heat maps and the boxes of {len(boxes)} clips")
    scored = np.flatnonzero(scorable(boxes, size))
    if not len(scored):
        raise UsageError(
            "localisation needs clips with a visible, sounding object; "
            f"of the {len(boxes)} clips none has one in its picture"
        )
    ious, pointed = np.zeros(len(scored)), np.zeros(len(scored))
    for place, clip in enumerate(scored.tolist()):
        heat, own = resize(heats[clip], size, interpolation), boxes[clip]
        ious[place] = consensus_iou(heat, own, consensus=consensus, threshold=threshold)
        pointed[place] = pointing(heat, own, consensus=consensus)
    successes = (ious[:, None] >= SUCCESS_THRESHOLDS[None]).astype(float)
    return {
        "ciou": (ious >= HIT_CIOU).astype(float),
        "ciou_auc": np.trapezoid(successes, SUCCESS_THRESHOLDS, axis=1),
        "mean_ciou": ious,
        "pointing": pointed,
    }


def scorable(boxes: Sequence[Boxes], size: int = PICTURE_SIZE) -> Bool[np.ndarray, "clips"]:
    """Which clips have a box that covers a pixel of the picture."""
    return np.array([coverage(own, size, size).any() for own in boxes], bool)


def consensus_iou(
    heat: Float[np.ndarray, "size size"],
    boxes: Boxes,
    *,
    consensus: int = 1,
    threshold: Threshold = 0.5,
) -> float:
    """How well the hot part of a map, of the picture's size, covers what the boxes agree on.

    A pixel's truth g is the number of boxes on it divided by `consensus`, at most 1: 2 where the
    boxes are those of several annotators of one object, 1 where they are several objects. With A
    the pixels above the threshold, cIoU = sum of g over A / (sum of g + number of A where g = 0).

    The threshold is on the map scaled to 0..1. The default of 0.5 is that of Senocak et al. (as
    recalled). Later code (`RELEASED`) takes the "median", which calls half of every picture hot: a
    box of less than a quarter of the picture can then never reach 0.5. LVS's is strictly above it:
    a map that is the same everywhere points nowhere and has 0, as with a number. EZ-VSL's,
    "median_with_ties", is at least it: such a map is hot everywhere.
    """
    truth = truth_map(boxes, *heat.shape, consensus=consensus)
    if not truth.any():
        raise ValueError("none of the boxes covers a pixel")
    hot = hot_pixels(heat, threshold)
    return float(truth[hot].sum() / (truth.sum() + (hot & (truth == 0)).sum()))


def truth_map(
    boxes: Boxes, height: int, width: int, *, consensus: int = 1
) -> Float[np.ndarray, "height width"]:
    """How far the boxes agree on each pixel, from 0 to 1."""
    return np.minimum(coverage(boxes, height, width) / consensus, 1.0)


def hot_pixels(heat: Float[np.ndarray, "h w"], threshold: Threshold) -> Bool[np.ndarray, "h w"]:
    if isinstance(threshold, str):
        if threshold not in MEDIANS:
            raise ValueError(
                f"a threshold is a number or one of {', '.join(MEDIANS)}, not '{threshold}'"
            )
        median = np.sort(heat, axis=None)[heat.size // 2]
        return heat > median if threshold == "median" else heat >= median
    if heat.min() == heat.max():
        return np.zeros(heat.shape, bool)
    return scaled(heat) > threshold


def pointing(heat: Float[np.ndarray, "h w"], boxes: Boxes, *, consensus: int = 1) -> float:
    """1 if the largest heat lies in a box, else 0; of several largest ones, the share in a box.

    The pointing game (Zhang et al. 2016, arXiv 1608.00507; as recalled), without its margin of 15
    pixels. So the share that the boxes cover is the score of a constant map. Where boxes are
    opinions (`consensus` of 2) it is the part that most of them agree on, up to so many.
    """
    truth = truth_map(boxes, *heat.shape, consensus=consensus)
    agreed = (truth > 0) & (truth == truth.max())
    return float(agreed[heat == heat.max()].mean())


def coverage(boxes: Boxes, height: int, width: int) -> Float[np.ndarray, "height width"]:
    """How many boxes each pixel's centre lies in."""
    across, down = ((np.arange(size) + 0.5) / size for size in (width, height))
    boxes = np.asarray(boxes, np.float64)
    in_columns = (boxes[:, :1] <= across[None]) & (across[None] < boxes[:, 2:3])
    in_rows = (boxes[:, 1:2] <= down[None]) & (down[None] < boxes[:, 3:])
    return np.einsum("nh,nw->hw", in_rows.astype(np.float64), in_columns.astype(np.float64))


def centre_box(boxes: Sequence[Boxes], size: int = PICTURE_SIZE) -> Float[np.ndarray, "size size"]:
    """The baseline that never looks: a map that is 1 in a box of the mean size in the middle."""
    all_boxes = np.concatenate([np.zeros((0, 4)), *boxes])
    if not len(all_boxes):
        raise UsageError("the centre box needs the boxes of some clips; there are none")
    half = (all_boxes[:, 2:] - all_boxes[:, :2]).mean(axis=0) / 2
    return coverage(np.concatenate([0.5 - half, 0.5 + half])[None], size, size)


def centre_point(size: int = PICTURE_SIZE) -> Float[np.ndarray, "size size"]:
    """The same for the pointing game: a map that is 1 in the middle alone, at four pixels of an even size."""
    heat = np.zeros((size, size))
    heat[(size - 1) // 2 : size // 2 + 1, (size - 1) // 2 : size // 2 + 1] = 1
    return heat
