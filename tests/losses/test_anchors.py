"""Anchors and offsets against loops over single boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.anchors import (
    ASPECTS,
    SIZES,
    anchor_boxes,
    assign_anchors,
    box_overlaps,
    boxes_of_offsets,
    offsets_of_boxes,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
ANCHORS = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 30], [40, 40, 50, 44]], np.float32)

assign = jax.jit(assign_anchors)


def naive_iou(first, second):
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(across, 0) * max(down, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def test_anchors_lie_around_every_cell_in_the_released_order():
    found = jax.jit(lambda: anchor_boxes(256, 128, strides=(64, 128)))()
    expected = []
    for stride in (64, 128):
        for y in range(stride // 2, 256, stride):
            for x in range(stride // 2, 128, stride):
                for size in SIZES:
                    for across, down in ASPECTS:
                        half = 4 * stride * size * np.array([across, down]) / 2
                        expected.append([x - half[0], y - half[1], x + half[0], y + half[1]])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    of_the_paper = jax.eval_shape(lambda: anchor_boxes(768, 768))
    assert of_the_paper.shape == (9 * (96**2 + 48**2 + 24**2 + 12**2 + 6**2), 4)
    with pytest.raises(ValueError, match="200 x 128 pixels is no multiple of the stride 16"):
        anchor_boxes(200, 128, strides=(16,))


def test_overlaps_equal_loops():
    random = np.random.default_rng(0)
    corners = random.uniform(0, 30, (2, 7, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 30, (2, 7, 2))], axis=-1)
    overlaps = jax.jit(box_overlaps)
    found = overlaps(ANCHORS, boxes.astype(np.float32))
    expected = [[[naive_iou(a, box) for box in own] for a in ANCHORS] for own in boxes]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    # Without any area nothing is overlapped.
    points = np.tile(np.array([5, 5, 5, 5], np.float32), (1, 4, 1))
    np.testing.assert_array_equal(overlaps(points[0], points), 0.0)


def test_an_anchor_stands_for_what_it_overlaps_by_half():
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 14], [0, 0, 10, 10], [40, 40, 50, 44]]])
    known = np.array([[True, True, True, False]])
    nearest, positive, background = assign(ANCHORS, boxes.astype(np.float32), known=known)
    # IoU with the first box: 1, 1/3, 1/3; with the second: 10/14, 50/190, 14/30.
    np.testing.assert_array_equal(nearest[0, :3], [0, 0, 1])
    np.testing.assert_array_equal(positive, [[True, False, False, False]])
    # 14/30 is neither; of the box that fills up nothing is seen.
    np.testing.assert_array_equal(background, [[False, True, False, True]])
    nothing = np.zeros((1, 4), bool)
    _, positive, background = assign(ANCHORS, boxes.astype(np.float32), known=nothing)
    assert not positive.any()
    assert background.all()


def test_the_borders_of_the_overlap():
    """Exactly 0.5 is positive; exactly 0.4 is no background."""
    boxes = np.array([[[0, 0, 10, 20], [0, 0, 10, 25]]], np.float32)
    anchor = np.array([[0, 0, 10, 10]], np.float32)
    for row, expected in enumerate(((True, False), (False, False))):
        _, *found = assign(anchor, boxes[:, row : row + 1], known=np.ones((1, 1), bool))
        assert tuple(bool(x[0, 0]) for x in found) == expected


def test_offsets_lead_from_the_anchor_to_the_box():
    boxes = np.array([[[2, 3, 9, 15], [5, 0, 15, 10], [1, 2, 3, 4], [0, 0, 80, 60]]], np.float32)
    offsets = jax.jit(offsets_of_boxes)(ANCHORS, boxes)
    np.testing.assert_allclose(
        offsets[0, 0], [(5.5 - 5) / 10, (9 - 5) / 10, np.log(0.7), np.log(1.2)], rtol=1e-5
    )
    np.testing.assert_array_equal(offsets[0, 1], 0.0)
    found = jax.jit(boxes_of_offsets)(ANCHORS, offsets)
    np.testing.assert_allclose(found, boxes, rtol=1e-5, atol=1e-4)
    # Sides count as one pixel at least, so that nothing is minus infinite.
    flat = offsets_of_boxes(jnp.asarray(ANCHORS), jnp.zeros((1, 4, 4), jnp.float32))
    np.testing.assert_allclose(flat[0, 0, 2:], np.log(0.1), rtol=1e-6)
    wide = boxes_of_offsets(jnp.asarray(ANCHORS), offsets.astype(jnp.bfloat16))
    assert wide.dtype == jnp.float32
