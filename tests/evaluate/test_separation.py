import numpy as np
import pytest

from avssl.evaluate.separation import told_apart, two_objects

LEFT, RIGHT = [0.1, 0.3, 0.3, 0.6], [0.7, 0.3, 0.9, 0.6]
BOTH = np.array([LEFT, RIGHT])


def peak(x: float, y: float = 0.45, size: int = 20) -> np.ndarray:
    heat = np.zeros((size, size))
    heat[int(y * size), int(x * size)] = 1
    return heat


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ([peak(0.2), peak(0.8)], 1.0),
        ([peak(0.8), peak(0.2)], 1.0),  # either map may be either object's
        ([peak(0.2), peak(0.2)], 0.5),
        ([peak(0.2)], 0.5),  # one map has one place
        ([peak(0.5), peak(0.5)], 0.0),
        ([peak(0.2), peak(0.5), peak(0.8)], 0.5),  # the third is not asked
    ],
)
def test_each_object_needs_a_map_of_its_own(maps, expected):
    assert told_apart([np.stack(maps)], [BOTH], [0]) == expected


def test_one_map_that_is_hot_at_both_is_half_right():
    maps = [(peak(0.2) + peak(0.8))[None]]
    assert told_apart(maps, [BOTH], [0], size=20) == pytest.approx(0.5)


def test_only_clips_of_two_visible_objects_count():
    out_of_sight = np.array([LEFT, [1.2, 0.3, 1.4, 0.6]])
    boxes = [BOTH[:1], BOTH, out_of_sight, np.concatenate([BOTH, BOTH])]
    assert two_objects(boxes) == [1]
    right, wrong = np.stack([peak(0.2), peak(0.8)]), np.stack([peak(0.5)])
    assert told_apart([wrong, right, wrong, wrong], boxes, two_objects(boxes)) == 1
