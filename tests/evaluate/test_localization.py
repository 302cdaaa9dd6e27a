import numpy as np
import pytest

from avssl.data.boxes import boxes_in_view
from avssl.data.decoded import crop_frames
from avssl.data.placement import Crop
from avssl.errors import UsageError
from avssl.evaluate.heat_maps import resize
from avssl.evaluate.localization import (
    RELEASED,
    centre_box,
    centre_point,
    consensus_iou,
    coverage,
    localization,
    pointing,
    scorable,
)

LEFT_HALF, RIGHT_HALF = np.array([[0, 0, 0.5, 1]]), np.array([[0.5, 0, 1, 1]])
NO_BOXES = np.zeros((0, 4))


def hot(*boxes, size=20):
    return coverage(np.array(boxes), size, size).clip(max=1)


def test_a_pixel_belongs_to_the_box_that_its_centre_lies_in():
    covered = coverage(np.array([[0.1, 0.25, 0.4, 1.0], [0.1, 0.2, 0.16, 1.0]]), 2, 10)
    np.testing.assert_array_equal(covered, [[0, 2, 1, 1, 0, 0, 0, 0, 0, 0]] * 2)
    assert coverage(NO_BOXES, 3, 4).shape == (3, 4)


def test_ciou_of_one_box_is_intersection_over_union():
    # Boxes of 100 pixels that share 50.
    assert consensus_iou(hot([0.25, 0, 0.75, 0.5]), np.array([[0, 0, 0.5, 0.5]])) == 50 / 150
    assert consensus_iou(hot([0, 0, 0.5, 0.5]), np.array([[0, 0, 0.5, 0.5]])) == 1
    assert consensus_iou(hot([0.5, 0, 1, 1]), LEFT_HALF) == 0


def test_several_boxes_are_several_objects_or_several_opinions():
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5]])  # 50 pixels in both, 100 in one
    heat = hot([0, 0, 0.5, 0.5], [0.9, 0.9, 1.0, 1.0])
    assert consensus_iou(heat, boxes) == 100 / (150 + 4)
    # Pixels of one opinion count half, as truth and as hits, but never as false alarms.
    assert consensus_iou(heat, boxes, consensus=2) == 75 / (100 + 4)


def test_the_threshold_is_on_the_scaled_map_and_strict():
    heat = np.tile(np.array([-3.0, -1.0, 0.0, 1.0])[None], (4, 1))  # 0, 0.5, 0.75, 1
    assert consensus_iou(heat, RIGHT_HALF) == 1
    assert consensus_iou(heat, RIGHT_HALF, threshold=0.4) == 8 / 12
    assert consensus_iou(heat, RIGHT_HALF, threshold=0.75) == 4 / 8
    assert consensus_iou(1e6 * heat + 7, RIGHT_HALF) == 1


def test_the_median_calls_half_of_every_map_hot():
    rng = np.random.default_rng(0)
    heat = np.exp(5 * rng.random((20, 20)))
    whole = np.array([[0.0, 0.0, 1.0, 1.0]])
    assert consensus_iou(heat, whole, threshold="median") == 199 / 400  # strictly above it
    assert consensus_iou(heat, whole) < 0.3


def test_ties_at_the_median_are_hot_or_not():
    """LVS's threshold is strict, EZ-VSL's is not."""
    heat = np.repeat([[0.0, 1.0, 1.0, 2.0]], 4, axis=0)  # the median is 1
    assert consensus_iou(heat, RIGHT_HALF, threshold="median") == 4 / 8
    assert consensus_iou(heat, RIGHT_HALF, threshold="median_with_ties") == 8 / 12
    # Without ties it is one pixel that differs, the median itself.
    heat = np.random.default_rng(0).permutation(400).reshape(20, 20)
    whole = np.array([[0.0, 0.0, 1.0, 1.0]])
    assert consensus_iou(heat, whole, threshold="median_with_ties") == 200 / 400
    assert consensus_iou(np.ones((4, 4)), LEFT_HALF, threshold="median_with_ties") == 8 / 16


@pytest.mark.parametrize("name", RELEASED)
def test_released_evaluators_resize_as_they_did(name):
    """What is in one of three columns lies elsewhere if the outer ones end at the edge."""
    heat, box = np.array([[0.0, 1.0, 0.2]] * 3), np.array([[1 / 3, 0.0, 2 / 3, 1.0]])
    scores = localization([heat], [box], size=30, **RELEASED[name])
    interpolation = {"lvs": "bilinear", "ez_vsl": "bilinear_corners", "ez_vsl_training": "bicubic"}
    resized = resize(heat, 30, interpolation[name])
    threshold = RELEASED[name]["threshold"]
    assert scores["mean_ciou"] == consensus_iou(resized, box, threshold=threshold)
    others = {resize(heat, 30, other)[0, 3] for other in interpolation.values()}
    assert len(others) == 3


def test_a_map_without_a_peak_points_nowhere():
    flat = np.full((3, 3), 0.1)
    for threshold in (0.5, 0.0, "median"):
        assert consensus_iou(resize(flat, 24), LEFT_HALF, threshold=threshold) == 0
    assert pointing(resize(flat, 24), np.array([[0, 0, 0.25, 1]])) == 0.25


def test_pointing_looks_at_the_largest_heat_alone():
    heat = hot([0, 0, 0.5, 1])
    heat[3, 15] = 2
    assert pointing(heat, RIGHT_HALF) == 1
    assert pointing(heat, LEFT_HALF) == 0
    heat[4, 2] = 2
    assert pointing(heat, LEFT_HALF) == 0.5


def test_pointing_is_at_what_most_opinions_agree_on():
    opinions = np.array([[0, 0, 0.5, 1], [0.25, 0, 1, 1]])
    first, both = hot([0, 0, 0.2, 1]), hot([0.3, 0, 0.4, 1])
    assert [pointing(heat, opinions) for heat in (first, both)] == [1, 1]
    assert [pointing(heat, opinions, consensus=2) for heat in (first, both)] == [0, 1]
    # Opinions that share nothing are equally good, and boxes of no extent are none.
    apart = np.concatenate([LEFT_HALF, RIGHT_HALF])
    assert pointing(first, apart, consensus=2) == 1
    assert pointing(first, NO_BOXES) == 0


def test_the_centre_point():
    assert centre_point(5).sum() == 1
    assert centre_point(5)[2, 2] == 1
    assert centre_point(6).sum() == 4
    quarter = np.array([[0.5, 0.5, 1, 1]])
    assert pointing(centre_point(6), quarter) == 1 / 4
    assert pointing(centre_point(6), np.array([[0.4, 0.4, 0.6, 0.6]])) == 1
    assert pointing(centre_point(6), np.array([[0.0, 0.0, 0.3, 0.3]])) == 0


def test_success_and_its_curve():
    box = np.array([[0, 0, 0.5, 0.5]])
    found, missed, half = hot([0, 0, 0.5, 0.5]), hot([0.5, 0.5, 1, 1]), hot([0, 0, 0.5, 0.25])
    scores = localization([found, missed, half, found], [box, box, box, NO_BOXES], size=20)
    assert scores["ciou"] == pytest.approx(2 / 3)
    assert scores["mean_ciou"] == pytest.approx(0.5)
    assert scores["pointing"] == pytest.approx(2 / 3)
    # By trapezoids: 1 throughout; 1 at 0 only; 1 up to 0.5, then half a step.
    assert scores["ciou_auc"] == pytest.approx((1 + 0.025 + 0.525) / 3)
    np.testing.assert_array_equal(scorable([box, NO_BOXES, 0 * box]), [True, False, False])


def test_random_boxes_are_found_by_maps_of_them_and_not_by_maps_of_others():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.6, (40, 1, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.2, 0.4, (40, 1, 2))], axis=-1)
    maps = np.stack([coverage(own, 28, 28) for own in boxes])
    own, others = localization(maps, boxes), localization(np.roll(maps, 1, axis=0), boxes)
    assert own["ciou"] == 1
    assert own["ciou_auc"] > 0.8
    assert own["pointing"] > 0.95
    assert others["ciou"] < 0.3
    assert others["ciou_auc"] < own["ciou_auc"] - 0.3
    baseline = localization([centre_box(boxes)] * 40, boxes)
    assert others["ciou_auc"] < baseline["ciou_auc"] < own["ciou_auc"]


def test_the_centre_box_has_the_mean_size():
    boxes = [np.array([[0, 0, 0.2, 0.4], [0.5, 0.5, 0.7, 1.0]]), NO_BOXES, LEFT_HALF]
    middle = centre_box(boxes, size=100)
    # Mean width (0.2 + 0.2 + 0.5) / 3, mean height (0.4 + 0.5 + 1) / 3.
    assert middle.sum() == 30 * 64
    rows, columns = np.nonzero(middle)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (18, 81, 35, 64)
    assert consensus_iou(middle, np.array([[0.35, 0.18, 0.65, 0.82]])) == 1


@pytest.mark.parametrize("flip", [False, True])
def test_a_box_moves_as_the_pixels_do(flip):
    """Against the reader's own cropping, of a white object on black."""
    frame = np.zeros((1, 60, 80, 3), np.uint8)
    frame[:, 12:30, 24:44] = 255
    boxes = np.array([[24 / 80, 12 / 60, 44 / 80, 30 / 60]])
    crop = Crop(left=20, top=6, width=40, height=30, flip=flip)
    view = np.empty((1, 120, 120, 3), np.uint8)
    crop_frames(frame, np.array([0]), crop, 120, view)
    moved = boxes_in_view(boxes, np.array(crop.box(80, 60), np.float32), flip)
    rows, columns = np.nonzero(view[0, :, :, 0] >= 128)
    # The object is 18 of the crop's 30 rows and 20 of its 40 columns.
    shown = [columns.min() / 120, rows.min() / 120, (columns.max() + 1) / 120]
    np.testing.assert_allclose(moved, [[*shown, (rows.max() + 1) / 120]], atol=0.006)
    assert moved[0, 0] == pytest.approx(0.4 if flip else 0.1)


def test_what_lies_beyond_the_view_is_cut_off():
    view = np.array([0.25, 0.25, 0.75, 0.75])
    boxes = np.array([[0, 0, 0.5, 0.5], [0.3, 0.3, 0.4, 0.4], [0, 0, 0.25, 1], [0.8, 0.8, 1, 1]])
    moved = boxes_in_view(boxes, view, False)
    np.testing.assert_allclose(moved, [[0, 0, 0.5, 0.5], [0.1, 0.1, 0.3, 0.3]], atol=1e-12)
    # A quarter of the first one is in view.
    assert len(boxes_in_view(boxes, view, False, least_share=0.2)) == 2
    assert len(boxes_in_view(boxes, view, False, least_share=0.3)) == 1
    assert boxes_in_view(NO_BOXES, view, True).shape == (0, 4)


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="of the 2 clips none"):
        localization([np.eye(3)] * 2, [NO_BOXES] * 2)
    with pytest.raises(UsageError, match="there are none"):
        centre_box([NO_BOXES])
    with pytest.raises(ValueError, match="1 heat maps and the boxes of 2"):
        localization([np.eye(3)], [LEFT_HALF] * 2)
    with pytest.raises(ValueError, match="one of median, median_with_ties, not 'mean'"):
        consensus_iou(np.eye(4), LEFT_HALF, threshold="mean")
    with pytest.raises(ValueError, match="covers a pixel"):
        consensus_iou(np.eye(4), NO_BOXES)
    with pytest.raises(ValueError, match="no extent"):
        boxes_in_view(LEFT_HALF, np.zeros(4), False)
