"""Where objects are in a view: the source's boxes at the time of the frame, cut and mirrored as it is."""

import dataclasses

import numpy as np
import pytest

from avssl.data.boxes import Objects, objects_in_view
from avssl.data.needs import what_is_lacking
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.record import truth_of
from avssl.data.truth import objects_at
from avssl.data.views import VideoView, build_view
from avssl.errors import UsageError

SOURCE = "world:tiny_vehicles@train"
VIEW = VideoView(frames=1, fps=8.0, size=32, crop_area=(0.3, 1.0), objects=3)


def drawn(view, number=3):
    source = open_source(SOURCE)
    pipeline = Pipeline(source, {"picture": view}, batch_size=8, seed=0)
    with pipeline.batches() as batches:
        return source, [next(batches) for _ in range(number)]


@pytest.mark.parametrize("heard", [False, True])
def test_boxes_are_those_of_the_frame_as_the_view_shows_it(heard):
    source, batches = drawn(dataclasses.replace(VIEW, heard_objects=heard))
    number, flips = 0, 0
    for batch in batches:
        place = batch["geometry"]["picture"]
        assert place["objects"].shape == (8, 3, 4)
        for row, index in enumerate(batch["index"].tolist()):
            truth = truth_of(source, index)
            there = objects_at(
                truth, float(place["start_seconds"][row]), sounding=True if heard else None
            )
            seen = objects_in_view(
                there, place["box"][row], bool(place["flip"][row]), least_share=0.2
            )
            known = place["classes"][row] >= 0
            kept = min(len(seen), 3)
            assert known.sum() == kept
            np.testing.assert_allclose(
                place["objects"][row][known], seen.boxes[:kept].reshape(-1, 4), atol=1e-6
            )
            assert place["classes"][row][known].tolist() == seen.labels[:kept].tolist()
            assert not place["objects"][row][~known].any()
            number, flips = number + kept, flips + int(place["flip"][row])
    assert number > 10
    assert 0 < flips < 24


def test_a_mirrored_box_and_one_beyond_the_view():
    objects = Objects(np.array([[0.1, 0.2, 0.3, 0.4], [0.8, 0.8, 0.9, 0.9]]), np.array([4, 2]))
    seen = objects_in_view(objects, np.array([0.0, 0.0, 0.5, 0.5]), True)
    np.testing.assert_allclose(seen.boxes, [[0.4, 0.4, 0.8, 0.8]])
    assert seen.labels.tolist() == [4]


def test_a_view_without_objects_draws_as_ever():
    """New keys of views must not move the draws of older runs."""
    assert repr(dataclasses.replace(VIEW, objects=None)) == repr(
        VideoView(frames=1, fps=8.0, size=32, crop_area=(0.3, 1.0))
    )
    assert "objects" not in dataclasses.replace(VIEW, objects=None).geometry


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"frames": 2}, "set frames=1, windows=1"),
        ({"windows": 3}, "set frames=1, windows=1"),
        ({"projection": "sphere", "flip": False}, "flat picture"),
        ({"objects": 0}, "must be a number of boxes.*, not 0"),
        ({"objects": 2.5}, "must be a number of boxes.*, not 2.5"),
    ],
)
def test_what_is_wrong_is_named(keys, said):
    fields = {"modality": "video", "frames": 1, "fps": 8.0, "size": 32, "objects": 2}
    with pytest.raises(UsageError, match=said):
        build_view("picture", fields | keys)


def test_a_source_without_boxes_is_refused(list_source, clips):
    source = list_source(clips)
    lacking = what_is_lacking(source, np.arange(len(source)), VIEW)
    assert "boxes of objects: none of" in lacking
    assert "world:vehicles does" in lacking
    vehicles = open_source(SOURCE)
    assert not what_is_lacking(vehicles, np.arange(len(vehicles)), VIEW)
