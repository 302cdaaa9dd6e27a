import numpy as np
import pytest

from avssl.data.boxes import Detections, Objects, overlaps, suppressed


def random_boxes(num: int, seed: int = 0, reach: float = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, reach, (num, 2))
    return np.concatenate([corners, corners + random.uniform(5, 40, (num, 2))], axis=1)


def pixels(box, inclusive):
    """The pixels of a box of whole numbers, one by one."""
    x0, y0, x1, y1 = (int(side) for side in box)
    return {(x, y) for x in range(x0, x1 + inclusive) for y in range(y0, y1 + inclusive)}


@pytest.mark.parametrize("inclusive", [False, True])
def test_overlap_is_the_share_of_pixels_in_both(inclusive):
    first, second = random_boxes(6).round(), random_boxes(5, seed=1).round()
    found = overlaps(first, second, inclusive=inclusive)
    for i, j in np.ndindex(found.shape):
        one, other = pixels(first[i], inclusive), pixels(second[j], inclusive)
        np.testing.assert_allclose(found[i, j], len(one & other) / len(one | other), rtol=1e-12)
    np.testing.assert_allclose(np.diag(overlaps(first, first, inclusive=inclusive)), 1.0)
    assert 0.1 < found.max() < 1.0


def test_boxes_without_area_overlap_nothing():
    points = np.full((2, 4), 3.0)
    np.testing.assert_array_equal(overlaps(points, points), 0.0)
    assert overlaps(np.zeros((0, 4)), points).shape == (0, 2)


def naive_suppressed(found: Detections, iou_threshold: float, by_class: bool) -> list[int]:
    """Takes the surest of what is left and throws out what overlaps it, until nothing is left."""
    left, kept = set(range(len(found))), []
    while left:
        best = min(left, key=lambda place: (-found.scores[place], place))
        kept.append(best)
        rivals = [p for p in left if not by_class or found.labels[p] == found.labels[best]]
        own = found.boxes[best : best + 1]
        overlap = overlaps(own, found.boxes)[0]
        left -= {best, *(p for p in rivals if overlap[p] > iou_threshold)}
    return kept


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("iou_threshold", [0.1, 0.5])
def test_suppression_equals_the_textbook(iou_threshold, by_class):
    random = np.random.default_rng(2)
    boxes, labels = random_boxes(40, seed=3, reach=20), random.integers(0, 3, 40)
    found = Detections(boxes, labels, random.integers(0, 10, 40) / 10)
    kept = naive_suppressed(found, iou_threshold, by_class)
    assert 3 < len(kept) < 38
    left = suppressed(found, iou_threshold=iou_threshold, by_class=by_class)
    np.testing.assert_array_equal(left.boxes, boxes[kept])
    np.testing.assert_array_equal(left.labels, labels[kept])
    np.testing.assert_array_equal(left.scores, found.scores[kept])


def test_what_overlaps_by_the_threshold_stays():
    boxes = np.array([[0.0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 1.1, 1]])
    found = Detections(boxes, np.zeros(3, int), np.array([0.9, 0.8, 0.7]))
    assert len(suppressed(found, iou_threshold=0.5)) == 2
    # The third is suppressed by the first alone: what is gone suppresses nothing.
    np.testing.assert_array_equal(suppressed(found).boxes, boxes[:2])
    chain = np.array([[0.0, 0, 10, 1], [3, 0, 13, 1], [6, 0, 16, 1]])
    left = suppressed(Detections(chain, np.zeros(3, int), np.array([0.9, 0.8, 0.7])))
    np.testing.assert_array_equal(left.boxes, chain[[0, 2]])


def test_nothing_found_is_nothing_left():
    nothing = Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    assert len(suppressed(nothing)) == 0


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"shape \(2, 4\) for 3 labels"):
        Objects(np.zeros((2, 4)), np.zeros(3, int))
    with pytest.raises(ValueError, match="1 scores for 2 labels"):
        Detections(np.zeros((2, 4)), np.zeros(2, int), np.zeros(1))
