import dataclasses

import numpy as np
import pytest

from avssl.data.truth import faults, objects_at, sounding_boxes
from avssl.errors import UsageError
from avssl.world.generate import generate_clip
from avssl.world.registry import WORLDS
from avssl.world.scene import FAULTS, draw_scene

FPS = 4


def thing(number, *, sounding=True, visible=True):
    """Frame k of the object's boxes holds k + number / 10 as x0."""
    boxes = [[k + number / 10, 0.0, 1.0, 1.0] for k in range(8)] if visible else None
    return {"class": number, "sounding": sounding, "visible": visible, "boxes": boxes}


def clip(*things):
    return {"fps": FPS, "objects": list(things), "faults": dict.fromkeys(FAULTS, False)}


@pytest.mark.parametrize(
    ("times", "frames"),
    [
        ([0.0, 0.25, 0.5], [0, 1, 2]),
        # What is on display between two frames is the earlier one.
        ([0.3], [1]),
        ([0.49, 0.74], [1, 2]),
        # The same frame may be shown twice.
        ([0.3, 0.4, 0.5], [1, 1, 2]),
        # On the grid of frames but for rounding, from either side.
        ([0.25 - 1e-9, 0.5 + 1e-9], [1, 2]),
        ([1.75, 5.0], [7, 7]),
        ([9.0], [7]),
        ([-1e-9], [0]),
    ],
)
def test_the_mean_is_over_the_frames_on_display(times, frames):
    boxes = sounding_boxes(clip(thing(3)), times)
    np.testing.assert_allclose(boxes, [[np.mean(frames) + 0.3, 0, 1, 1]], atol=1e-12)


def test_objects_keep_their_order_and_silent_and_unseen_ones_are_left_out():
    truth = clip(thing(5), thing(2, sounding=False), thing(1), thing(7, visible=False))
    assert sounding_boxes(truth, [0.0])[:, 0].tolist() == [0.5, 0.1]
    assert objects_at(truth, 0, sounding=False).boxes[:, 0].tolist() == [0.2]


def test_without_any_such_object_there_is_no_box():
    truth = clip(thing(0, visible=False))
    assert sounding_boxes(truth, [0.0]).shape == objects_at(truth, 0).boxes.shape == (0, 4)


def test_a_world_says_what_sounds():
    world = dataclasses.replace(WORLDS["crowd"], seconds=0.5, size=32)
    found = set()
    for index in range(12):
        truth = generate_clip(world, "test", index).truth
        num_sounding = sum(
            thing.event_seconds is not None for thing in draw_scene(world, "test", index).things
        )
        num_silent = len(truth["objects"]) - num_sounding
        boxes = sounding_boxes(truth, np.arange(world.num_frames) / world.fps)
        assert boxes.shape == (num_sounding, 4)
        assert len(objects_at(truth, 0.0, sounding=False)) == num_silent
        assert objects_at(truth, 0.0, sounding=True).labels[0] == truth["label"]
        assert np.all((boxes >= 0) & (boxes <= 1))
        assert np.all(boxes[:, :2] < boxes[:, 2:])
        expected = np.mean(truth["objects"][0]["boxes"], axis=0)
        np.testing.assert_allclose(boxes[0], expected, atol=1e-12)
        found.add((num_sounding, num_silent))
    assert {1, 2, 3} == {sounding for sounding, _ in found}
    assert {0, 1, 2} == {silent for _, silent in found}


def test_a_clip_with_the_sound_of_another_has_no_sounding_object():
    world = dataclasses.replace(WORLDS["crowd"], seconds=0.5, size=32, swapped_rate=1.0)
    truth = generate_clip(world, "test", 0).truth
    assert faults(truth) == ("swapped",)
    assert sounding_boxes(truth, [0.0]).shape == (0, 4)
    assert len(objects_at(truth, 0.0, sounding=False)) == len(truth["objects"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_clip_is_called_so(fault):
    truth = clip(thing(0))
    assert faults(truth) == ()
    truth["faults"][fault] = True
    assert faults(truth) == (fault,)


def test_a_source_that_is_no_world_is_refused():
    with pytest.raises(UsageError, match="does not say where each object is"):
        sounding_boxes({"caption": "a dog"}, [0.0])
    with pytest.raises(UsageError, match="world:NAME@test"):
        faults({})


def test_a_sphere_is_refused():
    around = thing(0) | {"direction_radians": [[0.0, 0.0]] * 8}
    with pytest.raises(UsageError, match="on a flat world"):
        sounding_boxes(clip(around), [0.0])
