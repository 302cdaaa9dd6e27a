"""Detection scores against a walk over thresholds of the score, and against all pairings."""

from itertools import permutations

import numpy as np
import pytest

from avssl.data.boxes import Detections, Objects, overlaps
from avssl.errors import UsageError
from avssl.evaluate.detection import (
    RELEASED_IOU_THRESHOLDS,
    area_under_precision,
    center_distances,
    class_scores,
    detection,
    hits,
    with_objects,
)
from avssl.evaluate.detection_intervals import PRECISIONS, Precisions, precision_intervals

NOTHING = Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
EMPTY = Objects(np.zeros((0, 4)), np.zeros(0, int))


def found(*rows) -> Detections:
    """Rows of x0, y0, x1, y1, label, score."""
    rows = np.array(rows, float)
    return Detections(rows[:, :4], rows[:, 4].astype(int), rows[:, 5])


def there(*rows) -> Objects:
    rows = np.array(rows, float)
    return Objects(rows[:, :4], rows[:, 4].astype(int))


def random_scenes(num: int = 12, seed: int = 0):
    """Pictures of up to 4 objects of 3 classes, and detections near most of them and elsewhere."""
    random = np.random.default_rng(seed)
    detections, objects = [], []
    for _ in range(num):
        count = random.integers(0, 5)
        corners = random.uniform(0, 0.6, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(0.1, 0.4, (count, 2))], axis=1)
        labels = random.integers(0, 3, count)
        objects.append(Objects(boxes, labels))
        near = boxes + random.normal(0, 0.04, boxes.shape)
        far = np.sort(random.uniform(0, 1, (2, 2, 2)), axis=1).reshape(2, 4)
        again = boxes[:1] + random.normal(0, 0.01, (len(boxes[:1]), 4))
        all_boxes = np.concatenate([near, far, again])
        all_labels = np.concatenate([labels, random.integers(0, 3, 2), labels[:1]])
        detections.append(Detections(all_boxes, all_labels, random.random(len(all_boxes))))
    return detections, objects


def naive_average_precision(detections, objects, label, iou_threshold):
    """At each score as the least that counts, match from scratch; then integrate best precision."""
    scores = np.concatenate([d.scores[d.labels == label] for d in detections])
    num_objects = sum((o.labels == label).sum() for o in objects)
    curve = []
    for least in np.sort(scores)[::-1]:
        right, total = 0, 0
        for d, o in zip(detections, objects, strict=True):
            places = np.flatnonzero((d.labels == label) & (d.scores >= least))
            free = [k for k in range(len(o)) if o.labels[k] == label]
            for place in sorted(places, key=lambda p: -d.scores[p]):
                total += 1
                overlap = [overlaps(d.boxes[place : place + 1], o.boxes)[0, k] for k in free]
                if free and max(overlap) >= iou_threshold:
                    free.pop(int(np.argmax(overlap)))
                    right += 1
        curve.append((right / num_objects, right / total))
    recalls = sorted({recall for recall, _ in curve if recall})
    area, last = 0.0, 0.0
    for recall in recalls:
        area += (recall - last) * max(p for r, p in curve if r >= recall)
        last = recall
    return area


@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.75])
def test_average_precision_equals_a_walk_over_scores(iou_threshold):
    detections, objects = random_scenes()
    scores = class_scores(detections, objects, iou_threshold=iou_threshold)
    assert set(scores) == {0, 1, 2}
    for label, one in scores.items():
        expected = naive_average_precision(detections, objects, label, iou_threshold)
        np.testing.assert_allclose(one.average_precision, expected, rtol=1e-12)
    assert 0.1 < scores[0].average_precision < 1


def test_average_precision_by_hand():
    # Right, wrong, right, of 3: a third at precision 1, a third at 2 / 3.
    right = np.array([True, False, True])
    scores = np.array([0.9, 0.8, 0.7])
    np.testing.assert_allclose(area_under_precision(right, scores, 3), (1 + 2 / 3) / 3)
    np.testing.assert_allclose(area_under_precision(right[::-1], scores[::-1], 3), (1 + 2 / 3) / 3)
    # Precision counts as the best that a greater recall has.
    found = area_under_precision(np.array([False, True, True]), scores, 2)
    np.testing.assert_allclose(found, 2 / 3)
    assert area_under_precision(np.zeros(0, bool), np.zeros(0), 2) == 0
    assert area_under_precision(np.zeros(3, bool), scores, 2) == 0


def test_an_object_is_found_once_and_by_the_surest():
    objects = there([0, 0, 10, 10, 0])
    twice = found([0, 0, 10, 9, 0, 0.5], [0, 0, 10, 10, 0, 0.9])
    np.testing.assert_array_equal(hits(twice, objects, iou_threshold=0.5), [False, True])
    # As released the order decides.
    right = hits(twice, objects, iou_threshold=0.5, released=True)
    np.testing.assert_array_equal(right, [True, False])


def test_a_detection_of_another_class_is_wrong():
    objects = there([0, 0, 10, 10, 0], [20, 20, 30, 30, 1])
    swapped = found([0, 0, 10, 10, 1, 0.9], [20, 20, 30, 30, 0, 0.8], [0, 0, 10, 10, 2, 0.7])
    assert not hits(swapped, objects, iou_threshold=0.5).any()
    # As released its class must only be somewhere in the picture.
    right = hits(swapped, objects, iou_threshold=0.5, released=True)
    np.testing.assert_array_equal(right, [True, True, False])


def test_a_detection_may_take_the_second_nearest_object():
    objects = there([0, 0, 10, 10, 0], [0, 4, 10, 14, 0])
    both = found([0, 1, 10, 11, 0, 0.9], [0, 1.5, 10, 11.5, 0, 0.8])
    assert hits(both, objects, iou_threshold=0.5).all()
    # As released it looks at the nearest alone, which is taken.
    right = hits(both, objects, iou_threshold=0.5, released=True)
    np.testing.assert_array_equal(right, [True, False])


def test_released_boxes_include_their_last_pixel():
    objects, near = there([0, 0, 3, 0, 0]), found([0, 0, 1, 0, 0, 1])
    assert hits(near, objects, iou_threshold=0.5, released=True).all()
    assert not hits(near, objects, iou_threshold=0.5).any()


def test_what_is_found_where_nothing_is_counts_as_wrong():
    objects = [there([0, 0, 10, 10, 0]), EMPTY]
    detections = [found([0, 0, 10, 10, 0, 0.5]), found([0, 0, 10, 10, 0, 0.9])]
    score = class_scores(detections, objects, iou_threshold=0.5)[0]
    assert (score.average_precision, score.precision, score.recall) == (0.5, 0.5, 1)
    # As released it is free.
    score = class_scores(detections, objects, iou_threshold=0.5, released=True)[0]
    assert (score.average_precision, score.precision, score.recall) == (1, 1, 1)


def naive_center_distances(detections, objects):
    """The best of all pairings, class by class, of pictures with at least as many detections."""
    rows = []
    for d, o in zip(detections, objects, strict=True):
        if not len(o):
            continue
        middles = [(one.boxes[:, :2] + one.boxes[:, 2:]) / 2 for one in (d, o)]
        errors = np.ones((len(o), 2))
        for label in np.unique(o.labels):
            own, candidates = np.flatnonzero(o.labels == label), np.flatnonzero(d.labels == label)
            best = min(
                permutations(candidates, len(own)),
                key=lambda chosen: np.linalg.norm(
                    middles[1][own] - middles[0][list(chosen)], axis=1
                ).sum(),
            )
            errors[own] = np.abs(middles[1][own] - middles[0][list(best)])
        rows.append(errors.mean(axis=0))
    return np.array(rows)


def test_center_distances_are_those_of_the_best_pairing():
    detections, objects = random_scenes()
    expected = naive_center_distances(detections, objects)
    np.testing.assert_allclose(center_distances(detections, objects), expected, rtol=1e-10)
    # In pixels it is the same.
    size = np.array([640, 480, 640, 480])
    in_pixels = [[Objects(o.boxes * size, o.labels) for o in objects]]
    in_pixels.insert(0, [Detections(d.boxes * size, d.labels, d.scores) for d in detections])
    scaled = center_distances(*in_pixels, width=640, height=480)
    np.testing.assert_allclose(scaled, expected, rtol=1e-10)


def test_a_missed_object_counts_as_the_whole_picture():
    objects = there([0, 0, 0.2, 0.2, 0], [0.4, 0.4, 0.6, 0.6, 0])
    one = found([0.3, 0.4, 0.7, 0.6, 0, 0.9], [0, 0, 0.2, 0.2, 1, 0.9])
    np.testing.assert_allclose(center_distances([one], [objects]), [[0.5, 0.5]])
    np.testing.assert_array_equal(center_distances([NOTHING], [objects]), [[1, 1]])
    assert center_distances([one], [EMPTY]).shape == (0, 2)


def test_a_far_detection_of_its_class_is_nearer_than_none():
    objects = there([0, 0, 0.1, 0.1, 0], [0.9, 0, 1, 0.1, 1])
    crossed = found([0.9, 0, 1, 0.1, 0, 0.9], [0, 0, 0.1, 0.1, 1, 0.9])
    np.testing.assert_allclose(center_distances([crossed], [objects]), [[0.9, 0]], atol=1e-12)


def test_released_distances_compare_sizes():
    """So a box of the right size anywhere has none, and a missed one counts its size."""
    objects = there([0, 0, 20, 40, 0], [50, 50, 60, 60, 0])
    moved = found([70, 30, 90, 70, 0, 0.9])
    options = {"width": 100, "height": 100, "released": True}
    np.testing.assert_allclose(center_distances([moved], [objects], **options), [[0.05, 0.05]])
    np.testing.assert_allclose(center_distances([NOTHING], [objects], **options), [[0.15, 0.25]])
    # The first object takes the nearest, though the second would have needed it more.
    both = found([0, 0, 14, 30, 0, 0.9], [0, 0, 90, 90, 0, 0.8])
    found_both = center_distances([both], [objects], **options)
    np.testing.assert_allclose(found_both, [[(0.06 + 0.8) / 2, (0.1 + 0.8) / 2]])


@pytest.mark.parametrize("released", [False, True])
def test_the_truth_itself_scores_best_and_nothing_worst(released):
    _, objects = random_scenes()
    objects = [Objects((o.boxes * 100).round(), o.labels) for o in objects]
    perfect = [Detections(o.boxes, o.labels, np.linspace(1, 0.5, len(o))) for o in objects]
    scores = detection(perfect, objects, width=100, height=100, released=released)
    for name in ("map", "map_50", "map_75", "precision_50", "recall_50"):
        np.testing.assert_allclose(scores[name], 1.0)
    assert scores["center_distance_x"] == scores["center_distance_y"] == 0
    scores = detection([NOTHING] * 12, objects, width=100, height=100, released=released)
    for name in ("map", "map_50", "map_75", "precision_50", "recall_50"):
        assert scores[name] == 0
    assert scores["center_distance_x"] > 0.1


def test_the_mean_is_over_thresholds_and_classes():
    detections, objects = random_scenes()
    scores = detection(detections, objects)
    every = [
        [
            one.average_precision
            for one in class_scores(detections, objects, iou_threshold=t).values()
        ]
        for t in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    ]
    np.testing.assert_allclose(scores["map"], np.mean(every))
    np.testing.assert_allclose(scores["map_50"], np.mean(every[0]))
    np.testing.assert_allclose(scores["map_75"], np.mean(every[5]))
    assert len(RELEASED_IOU_THRESHOLDS) == 9


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="none of the 2 has any"):
        detection([NOTHING] * 2, [EMPTY] * 2)
    with pytest.raises(ValueError, match="1 pictures and objects of 2"):
        detection([NOTHING], [EMPTY] * 2)


@pytest.mark.parametrize("released", [False, True])
def test_pictures_that_count_several_times_are_as_if_they_were_there_so_often(released):
    detections, objects = random_scenes(30)
    if released:  # of pictures with objects alone, as the score itself
        detections, objects = with_objects(detections, objects)
    num = len(objects)
    precisions = Precisions(detections, objects, released=released)
    times = np.random.default_rng(0).integers(0, 3, (num, 4))
    times[:, 0] = 1
    found = precisions(times)
    for column, often in enumerate(times.T):
        pictures = np.repeat(np.arange(num), often)
        expected = detection(
            [detections[p] for p in pictures], [objects[p] for p in pictures], released=released
        )
        for metric in PRECISIONS:
            assert found[metric][column] == pytest.approx(expected[metric], abs=1e-12)
    values = detection(detections, objects, released=released)
    intervals = precision_intervals(
        detections, objects, {"map_50": values["map_50"]}, released=released
    )
    assert list(intervals) == ["map_50"]
    assert intervals["map_50"][0] < values["map_50"] < intervals["map_50"][1]
    assert Precisions([NOTHING] * num, objects)(times)["map"].tolist() == [0.0] * 4
