"""Anchors: the boxes a detector starts from, which object each stands for, and offsets from them.

EfficientDet's (Tan, Pang & Le 2020, arXiv 1911.09070), as in the detectors of MM-DistillNet. Boxes are
x0, y0, x1, y1 in pixels of the picture that the detector sees, offsets are dx, dy, dw, dh. Released
code and weights have y before x in anchors and offsets: the last four channels of a converted head
change places in pairs.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.precision import widen

STRIDES = (8, 16, 32, 64, 128)
SIZES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
ASPECTS = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
# A union of two boxes, as the divisor of their overlap, is at least this.
LEAST_AREA = 1e-8


def anchor_boxes(
    height: int,
    width: int,
    *,
    strides: tuple[int, ...] = STRIDES,
    size_in_strides: float = 4.0,
    sizes: tuple[float, ...] = SIZES,
    aspects: tuple[tuple[float, float], ...] = ASPECTS,
) -> Float[Array, "a 4"]:
    """All anchors of a picture: level by level, its cells row by row, in each all sizes and aspects.

    Around the middle of each cell of `stride` pixels lie boxes of stride * size_in_strides * size,
    times an aspect (of width, of height). They may reach beyond the picture.
    """
    levels = []
    for stride in strides:
        if height % stride or width % stride:
            raise ValueError(
                f"a picture of {height} x {width} pixels is no multiple of the stride {stride}"
            )
        boxes = [(size * across, size * down) for size in sizes for across, down in aspects]
        half = 0.5 * stride * size_in_strides * jnp.array(boxes)
        middles = (jnp.arange(0.5 * stride, side, stride) for side in (width, height))
        across, down = jnp.meshgrid(*middles)
        middle = jnp.stack([across.ravel(), down.ravel()], axis=1)[:, None]
        levels.append(
            jnp.concatenate([middle - half[None], middle + half[None]], axis=-1).reshape(-1, 4)
        )
    return jnp.concatenate(levels)


def box_overlaps(
    anchors: Float[Array, "a 4"], boxes: Float[Array, "b m 4"]
) -> Float[Array, "b a m"]:
    """Intersection over union of every anchor with every box of each picture."""
    first, second = anchors[None, :, None], boxes[:, None]
    low = jnp.maximum(first[..., :2], second[..., :2])
    high = jnp.minimum(first[..., 2:], second[..., 2:])
    shared = jnp.prod(jnp.maximum(high - low, 0.0), axis=-1)
    areas = [jnp.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (first, second)]
    return shared / jnp.maximum(areas[0] + areas[1] - shared, LEAST_AREA)


def assign_anchors(
    anchors: Float[Array, "a 4"],
    boxes: Float[Array, "b m 4"],
    *,
    known: Bool[Array, "b m"],
    positive_overlap: float = 0.5,
    background_overlap: float = 0.4,
) -> tuple[Int[Array, "b a"], Bool[Array, "b a"], Bool[Array, "b a"]]:
    """For every anchor the box it overlaps most; where it stands for that box; where for background.

    It stands for the box from an overlap of 0.5 on, and for the background below 0.4 with all boxes;
    others are left out of the loss. Of equally near boxes it is the first. Boxes that are not
    `known` fill up the array. A box that no anchor overlaps by half is learnt by none, as released.
    """
    overlap = jnp.where(known[:, None], box_overlaps(anchors, boxes), -1.0)
    best = jnp.max(overlap, axis=2)
    nearest = jnp.argmax(overlap, axis=2).astype(jnp.int32)
    return nearest, best >= positive_overlap, best < background_overlap


def offsets_of_boxes(
    anchors: Float[Array, "a 4"], boxes: Float[Array, "b a 4"], *, least_side: float = 1.0
) -> Float[Array, "b a 4"]:
    """What the detector is to say at each anchor so that `boxes_of_offsets` gives its box.

    Distances of the middles in sides of the anchor, and logarithms of the ratios of sides, which
    count as `least_side` (1 pixel) at least. No division by variances, as EfficientDet.
    """
    middle, size = _middles_and_sizes(anchors[None])
    box_middle, box_size = _middles_and_sizes(boxes)
    ratio = jnp.maximum(box_size, least_side) / size
    return jnp.concatenate([(box_middle - middle) / size, jnp.log(ratio)], axis=-1)


def boxes_of_offsets(
    anchors: Float[Array, "a 4"], offsets: Float[Array, "b a 4"]
) -> Float[Array, "b a 4"]:
    """The boxes that a detector's offsets mean, in float32 or wider; not cut off at the picture."""
    offsets = widen(offsets)
    middle, size = _middles_and_sizes(anchors[None].astype(offsets.dtype))
    middle = middle + offsets[..., :2] * size
    half = 0.5 * jnp.exp(offsets[..., 2:]) * size
    return jnp.concatenate([middle - half, middle + half], axis=-1)


def _middles_and_sizes(
    boxes: Float[Array, "b a 4"],
) -> tuple[Float[Array, "b a 2"], Float[Array, "b a 2"]]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size
