"""Frames show what the truth says."""

import dataclasses

import numpy as np
import pytest

from avssl.world.registry import WORLDS
from avssl.world.scene import Background, Scene, draw_scene
from tests.world.rendering import render

WORLD = dataclasses.replace(WORLDS["quickstart"], fps=4)


def scene_with(index: int, keep: slice) -> Scene:
    scene = draw_scene(WORLD, "train", index)
    return dataclasses.replace(scene, things=scene.things[keep])


def plain(level: float) -> Background:
    grey = np.full((2, 2, 3), level)
    return Background(colours=grey, patches=0 * grey, horizon=2.0, floor_colour=grey[0, 0])


@pytest.mark.parametrize("index", range(WORLD.num_classes))
def test_a_box_fits_its_object(index: int) -> None:
    """What covers a black and a white background alike is the object. Ten clips hold each class."""
    scene = scene_with(index, slice(0, 1))
    over_black, (boxes,) = render(dataclasses.replace(scene, background=plain(0)))
    over_white, _ = render(dataclasses.replace(scene, background=plain(255)))
    assert boxes is not None
    opaque = (over_white.astype(int) - over_black).mean(-1) < 128
    for shown, box in zip(opaque, boxes * WORLD.size, strict=True):
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        np.testing.assert_allclose(found, box, atol=2)  # thin tips fade early


@pytest.mark.parametrize("index", range(30))
def test_objects_stay_in_the_picture(index: int) -> None:
    for boxes in render(draw_scene(WORLD, "test", index))[1]:
        assert boxes is not None
        sides = boxes[:, 2:] - boxes[:, :2]
        assert (sides > 0.1).all()
        assert (boxes >= 0).all()
        assert (boxes <= 1).all()


def test_objects_are_drawn_over_the_background_far_ones_first() -> None:
    scene = scene_with(0, slice(0, 1))
    near = dataclasses.replace(scene.things[0], distance_metres=0.5)
    far = dataclasses.replace(near, distance_metres=2.0, colours=255 - near.colours)
    alone, _ = render(dataclasses.replace(scene, things=(near,)))
    for things in ((near, far), (far, near)):
        both, _ = render(dataclasses.replace(scene, things=things))
        covered = (both == alone).all(-1).mean()
        assert covered > 0.9


def test_what_sounds_moves_and_backgrounds_do_not() -> None:
    scene = scene_with(3, slice(0, 0))
    frames, boxes = render(scene)
    assert boxes == []
    assert (frames == frames[0]).all()
    moving, _ = render(scene_with(3, slice(0, 1)))
    assert (moving != moving[0]).any()


def test_frame_count_size_and_type() -> None:
    world = WORLDS["tiny"]
    frames, _ = render(draw_scene(world, "train", 0))
    assert frames.dtype == np.uint8
    assert frames.shape == (world.num_frames, world.size, world.size, 3)
