"""Detection of a run: which boxes meet which objects, at which time and in which weather."""

from types import SimpleNamespace

import numpy as np
import pytest

from avssl.data.boxes import Detections, Objects
from avssl.data.views import VideoView
from avssl.errors import UsageError
from avssl.evaluate.detection import detection
from avssl.evaluate.finds import METRICS, finds
from avssl.objectives import build_objective

ALL, LEFT_HALF = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]
NEAR, FAR = [0.1, 0.5, 0.4, 0.9], [0.6, 0.2, 0.7, 0.3]


@pytest.fixture(autouse=True)
def no_tracks(monkeypatch):
    """Which look at the media: see `test_tracking.py`."""
    monkeypatch.setattr("avssl.evaluate.finds.tracks", lambda *_: {})


def thing(*boxes, sounding=True, kind=3):
    return {"class": kind, "sounding": sounding, "visible": True, "boxes": list(boxes)}


def clip(*things, **further):
    return {"fps": 1, "objects": list(things), **further}


def told(*boxes, rows=4):
    """A list of boxes, each a little less sure than the one before."""
    listed = [[*box, 0.9 - 0.1 * place, 0] for place, box in enumerate(boxes)]
    return np.array(listed + [[0.0] * 6] * (rows - len(boxes)), np.float32)


def scored(truths, boxes, *, heard=False, crop=ALL, start=0.0, released=False, told=None, **keys):
    """By metric: value, chance and n."""
    geometry = {
        "start_seconds": np.full(len(truths), start),
        "box": np.array([crop] * len(truths)),
        "flip": np.zeros(len(truths), bool),
    }
    test = SimpleNamespace(
        outputs={"detect": {"boxes": np.stack(boxes)}},
        index=np.arange(len(truths)),
        geometry={"video": geometry},
    )
    model = SimpleNamespace(
        objectives={"detect": build_objective("detect", {"agnostic": True, **keys})},
        views={"video": VideoView(frames=1, objects=3, heard_objects=heard)},
    )
    source = SimpleNamespace(truth=truths.__getitem__, spec="a source")
    sides = SimpleNamespace(test=test, scored=(source, test.index))
    scores = finds(model, sides, released=released, told=told)
    assert {score.features for score in scores} == {"boxes"}
    for score in scores:
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]
    return {score.metric: (score.value, score.chance, score.n) for score in scores}


def test_what_is_found_is_compared_with_the_frame_at_that_time():
    truths = [clip(thing(NEAR, FAR)), clip(thing(FAR, NEAR)), clip()]
    found = scored(truths, [told(NEAR), told(FAR), told()])
    assert found["map"] == (1.0, 0.0, 2)
    assert found["center_distance_x"][0] == pytest.approx(0.0, abs=1e-6)
    # Nothing was found in the clip before the first, and the far one in that before the second.
    assert found["center_distance_x"][1] == pytest.approx((1 + 0.4) / 2, abs=1e-6)
    later = scored(truths, [told(NEAR), told(FAR), told()], start=1.0)
    assert later["map"][0] == 0.0


def test_objects_that_are_not_heard_and_not_in_view_are_none():
    truths = [clip(thing(NEAR), thing(FAR, sounding=False))] * 2
    boxes = [told(NEAR)] * 2
    assert scored(truths, boxes)["map"][0] == pytest.approx(0.5)
    assert scored(truths, boxes, heard=True)["map"][0] == 1.0
    wide = [[0.2, 0.5, 0.8, 0.9]]
    assert scored(truths, [told(*wide)] * 2, crop=LEFT_HALF)["map"][0] == 1.0


def test_classes_matter_unless_there_is_one():
    truths = [clip(thing(NEAR, kind=2))] * 2
    assert scored(truths, [told(NEAR)] * 2)["map"][0] == 1.0
    assert scored(truths, [told(NEAR)] * 2, agnostic=False)["map"][0] == 0.0


def test_each_kind_of_weather_is_scored_by_itself():
    truths = [
        clip(thing(NEAR), weather="night"), clip(thing(NEAR), weather=""), clip(weather="fog"),
    ]  # fmt: skip
    found = scored(truths, [told(FAR), told(NEAR), told()])
    assert found["night/map_50"] == (0.0, 0.0, 1)
    # The clip before is that of the night.
    assert found["day/map_50"] == (1.0, 0.0, 1)
    assert "fog/map_50" not in found


def test_released_rules_are_those_of_the_evaluator_in_pixels_of_the_view():
    truths = [clip(thing(NEAR)), clip(thing(FAR)), clip()]
    near = [0.1, 0.5, 0.37, 0.84]
    # What is found where nothing is there is free.
    boxes = [told(FAR, near), told(FAR), told(NEAR)]
    size = VideoView().size
    found = [
        Detections(size * each[:rows, :4].astype(float), np.zeros(rows, int), each[:rows, 4])
        for rows, each in zip((2, 1, 1), boxes, strict=True)
    ]
    there = [Objects(size * np.array(each).reshape(-1, 4), np.zeros(len(each), int))
             for each in ([NEAR], [FAR], [])]  # fmt: skip
    ours, theirs = (
        detection(found, there, width=size, height=size, released=released)
        for released in (False, True)
    )
    assert theirs["map"] > ours["map"] + 0.05
    for released, expected in ((False, ours), (True, theirs)):
        measured = scored(truths, boxes, released=released)
        for metric in METRICS:
            assert measured[metric][0] == pytest.approx(expected[metric], abs=1e-6), metric


def test_what_teachers_say_takes_the_place_of_what_the_data_know():
    seen = Detections(np.array([NEAR]), np.array([0]), np.array([0.9]))
    for truths in ([{}, {}], [clip(thing(FAR)), clip()]):
        found = scored(truths, [told(NEAR), told(FAR)], told=lambda name, _: [seen, seen])
        assert {*METRICS} == {name.removeprefix("teachers/") for name in found}
        assert found["teachers/recall_50"] == (0.5, 0.5, 2)
    with pytest.raises(
        UsageError, match=r"a source does not say where objects are: .*--truth teachers"
    ):
        scored([{}, {}], [told(NEAR), told(FAR)])


def test_a_run_that_finds_no_boxes_is_refused():
    model = SimpleNamespace(objectives={"xid": build_objective("xid", {})})
    with pytest.raises(UsageError, match="no objective of this run finds boxes"):
        finds(model, SimpleNamespace())
