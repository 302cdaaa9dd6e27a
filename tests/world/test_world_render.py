"""Frames show what the truth says."""

import dataclasses

import numpy as np
import pytest

from avssl.world.registry import WORLDS
from avssl.world.render import draw_background, render
from avssl.world.scene import Scene, draw_scene

WORLD = dataclasses.replace(WORLDS["quickstart"], fps=4)


def scene_with(index: int, keep: slice) -> Scene:
    scene = draw_scene(WORLD, "train", index)
    return dataclasses.replace(scene, things=scene.things[keep])


@pytest.mark.parametrize("index", range(12))
def test_a_box_holds_its_object_and_fits_it(index: int) -> None:
    scene = scene_with(index, slice(0, 1))
    frames, (boxes,) = render(scene)
    assert boxes is not None
    empty = draw_background(scene.background, WORLD.size).astype(np.uint8)
    for frame, box in zip(frames, boxes * WORLD.size, strict=True):
        changed = np.abs(frame.astype(int) - empty).sum(-1) > 60
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        # An edge of the object may have the colour of the background: looser inside than outside.
        assert (found[:2] >= box[:2] - 1.5).all()
        assert (found[2:] <= box[2:] + 1.5).all()
        assert ((found[:2] - box[:2]).max(), (box[2:] - found[2:]).max()) < (5, 5)


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
