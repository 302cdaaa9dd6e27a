"""Detection: are the boxes that an objective finds those of the objects that are there?"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from avssl.data.boxes import Detections, Objects, objects_in_view
from avssl.data.reader import LEAST_IN_VIEW
from avssl.data.record import truth_of
from avssl.data.truth import objects_at
from avssl.data.views import VideoView
from avssl.errors import UsageError
from avssl.evaluate.detection import center_distances, detection
from avssl.evaluate.detection_intervals import PRECISIONS, precision_intervals
from avssl.evaluate.intervals import interval_of_mean
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.evaluate.tracks import LEAST_SCORE, tracks
from avssl.objectives.detecting import DetectingObjective
from avssl.train.model import Model

DISTANCES = ("center_distance_x", "center_distance_y")
METRICS = (*PRECISIONS, *DISTANCES)
CLEAR_DAY = "day"
# Comes before the metrics that are by what teachers say.
TOLD = "teachers/"
Told = Callable[[str, Sides], Sequence[Objects]]

Kind = TypeVar("Kind", bound=Objects)


def finds(
    model: Model,
    sides: Sides,
    track_score: float | None = None,
    *,
    released: bool = False,
    told: Told | None = None,
) -> list[Score]:
    """Average precision of `boxes` and how far their middles are from the objects'.

    The objects are those of `video_view` at the time of its frame: all of them, or with its `heard_objects`
    those that sound. "chance" is what the boxes of the clip before give. Where the source knows the weather,
    `map_50` of each kind of it as well, and where objects are known in several frames `mota` and `idf1`
    (`tracks.py`), of boxes from `track_score` on. released: by the rules of MM-DistillNet's evaluator, but for
    tracks. told: which objects there are of each test clip, by objective, in the place of those that the
    source knows; these metrics are called `teachers/...`, and nothing is tracked.
    """
    detecting = {
        name: one for name, one in model.objectives.items() if isinstance(one, DetectingObjective)
    }
    if not detecting:
        raise UsageError("no objective of this run finds boxes, as detect does")
    source = sides.scored[0]
    truths = [truth_of(source, index) for index in sides.test.index.tolist()]
    scores, tracked = [], {}
    if told is None:
        if not any("objects" in truth for truth in truths):
            raise UsageError(
                f"{source.spec} does not say where objects are: take data that do (a world, a manifest with "
                "boxes), or score a student by what its teachers see, with --truth teachers"
            )
        least_score = LEAST_SCORE if track_score is None else track_score
        tracked = tracks(model, sides, detecting, least_score)
    for name, objective in detecting.items():
        view = model.views[objective.video_view]
        assert isinstance(view, VideoView)
        places = sides.test.geometry[objective.video_view]
        if told is None:
            there = true_objects(
                truths, places, heard=view.heard_objects, agnostic=objective.agnostic
            )
        else:
            there = [of_classes(each, objective.agnostic) for each in told(name, sides)]
        found = [listed(boxes) for boxes in sides.test.outputs[name]["boxes"]]
        others = found[-1:] + found[:-1]
        prefix = ("" if told is None else TOLD) + (f"{name}/" if scores else "")
        measured = partial(scored, pixels=view.size if released else 0)
        scores += measured(found, others, there, METRICS, prefix)
        scores += [
            dataclasses.replace(score, metric=f"{prefix}{score.metric}")
            for score in tracked.get(name, ())
        ]
        for weather, rows in by_weather(truths).items():
            scores += measured(
                [found[row] for row in rows],
                [others[row] for row in rows],
                [there[row] for row in rows],
                ("map_50",),
                f"{prefix}{weather}/",
            )
    return scores


def true_objects(
    truths: Sequence[Mapping[str, Any]],
    geometry: Mapping[str, np.ndarray],
    *,
    heard: bool,
    agnostic: bool,
) -> list[Objects]:
    """What each clip's picture shows, in shares of it."""
    there = []
    for row, truth in enumerate(truths):
        seconds = float(geometry["start_seconds"][row])
        objects = objects_in_view(
            objects_at(truth, seconds, sounding=True if heard else None),
            geometry["box"][row],
            bool(geometry["flip"][row]),
            least_share=LEAST_IN_VIEW,
        )
        there.append(of_classes(objects, agnostic))
    return there


def of_classes(objects: Objects, agnostic: bool) -> Objects:
    """The objects, of one class if agnostic."""
    labels = np.zeros_like(objects.labels) if agnostic else objects.labels
    return Objects(objects.boxes, labels)


def listed(boxes: np.ndarray) -> Detections:
    """A row of an objective's `boxes`."""
    kept = np.asarray(boxes, np.float64)[boxes[:, 4] > 0]
    return Detections(kept[:, :4], kept[:, 5].astype(np.int64), kept[:, 4])


def by_weather(truths: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """The rows of each kind of weather; nothing where the source does not know it."""
    rows: dict[str, list[int]] = {}
    for row, truth in enumerate(truths):
        if "weather" in truth:
            rows.setdefault(truth["weather"] or CLEAR_DAY, []).append(row)
    return dict(sorted(rows.items()))


def scored(
    found: list[Detections],
    others: list[Detections],
    there: list[Objects],
    metrics: Sequence[str],
    prefix: str,
    *,
    pixels: int = 0,
) -> list[Score]:
    """Nothing of pictures without any object. pixels: of a side, by released rules; 0 is by ours."""
    if not any(len(objects) for objects in there) and prefix.endswith("/"):
        return []
    side, released = float(pixels or 1), pixels > 0
    found, others = ([enlarged(one, side) for one in each] for each in (found, others))
    there = [enlarged(one, side) for one in there]
    rules: dict[str, Any] = dict(width=side, height=side, released=released)
    ours, guess = detection(found, there, **rules), detection(others, there, **rules)
    num = sum(1 for objects in there if len(objects))
    values = {name: ours[name] for name in metrics}
    intervals = precision_intervals(found, there, values, released=released)
    if set(DISTANCES) <= values.keys():
        across_and_down = center_distances(found, there, **rules).T
        intervals |= dict(zip(DISTANCES, map(interval_of_mean, across_and_down), strict=True))
    return scores_of("boxes", prefix, values, guess, num, intervals)


def enlarged(objects: Kind, side: float) -> Kind:
    """Boxes in shares of a picture, in pixels of one with such sides."""
    return dataclasses.replace(objects, boxes=side * objects.boxes)
