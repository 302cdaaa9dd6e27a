"""Lists of boxes on the device: the same that the evaluation's suppression leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.data.boxes import Detections, suppressed
from avssl.losses.suppression import surest_boxes


def drawn(number, seed):
    random = np.random.default_rng(seed)
    low = random.uniform(0, 0.4, (number, 2))
    boxes = np.concatenate([low, low + random.uniform(0.2, 0.5, (number, 2))], axis=1)
    return boxes, random.uniform(size=number), random.integers(3, size=number)


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_what_the_evaluation_would_leave(by_class, overlap, float64):
    pictures = [drawn(40, seed) for seed in range(4)]
    boxes, scores, labels = (jnp.asarray(np.stack(part)) for part in zip(*pictures, strict=True))
    listed = jax.jit(
        lambda *arrays: surest_boxes(
            *arrays, number=40, candidates=40, overlap=overlap, by_class=by_class
        )
    )(boxes, scores, labels)
    for row, (own, sure, classes) in zip(np.asarray(listed), pictures, strict=True):
        left = suppressed(Detections(own, classes, sure), iou_threshold=overlap, by_class=by_class)
        assert 1 < len(left) < 40
        np.testing.assert_allclose(row[: len(left), :4], left.boxes, rtol=1e-12)
        np.testing.assert_allclose(row[: len(left), 4], left.scores, rtol=1e-12)
        assert row[: len(left), 5].tolist() == left.labels.tolist()
        assert not row[len(left) :].any()


def test_the_list_has_the_surest_and_none_that_is_not_sure():
    boxes = jnp.array([[[0.0, 0, 0.1, 0.1], [0.2, 0, 0.3, 0.1], [0.4, 0, 0.5, 0.1]]])
    scores, labels = jnp.array([[0.2, 0.9, 0.5]]), jnp.array([[1, 2, 3]])
    two = surest_boxes(boxes, scores, labels, number=2, candidates=3)
    assert two[0, :, 5].tolist() == [2, 3]
    one = surest_boxes(boxes, scores, labels, number=4, candidates=3, least_score=0.6)
    assert one.shape == (1, 4, 6)
    assert one[0, 0, 5] == 2
    assert not one[0, 1:].any()


def test_boxes_without_extent_and_without_score_are_none():
    boxes = jnp.array([[[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]])
    listed = surest_boxes(
        boxes, jnp.array([[0.5, 0.0]]), jnp.zeros((1, 2), jnp.int32), number=2, candidates=2
    )
    assert np.isfinite(listed).all()
    assert (listed[0, :, 4] > 0).tolist() == [True, False]
