"""Localisation: does an objective's map of the picture show what sounds?"""

import numpy as np

from avssl.data.record import truth_of
from avssl.errors import UsageError
from avssl.evaluate.localization import boxes_in_view, centre_box, localization, scorable
from avssl.evaluate.separation import told_apart, two_objects
from avssl.evaluate.sides import Score, Sides
from avssl.evaluate.truth import box_consensus, sounding_boxes
from avssl.train.model import Model

METRICS = ("ciou", "ciou_auc", "mean_ciou", "pointing")


def places(model: Model, sides: Sides) -> list[Score]:
    """cIoU of `video_map` with the boxes of the sounding objects; "chance" is a box in the centre.

    `separated` (see `told_apart`), of `video_maps` where an objective has several: on the clips with two
    such objects, and beside it what the maps of the clip before give.
    """
    scores = []
    for name, objective in model.objectives.items():
        outputs = sides.test.outputs[name]
        if "video_map" not in outputs:
            continue
        boxes = true_boxes(sides, objective.video_view, model.views[objective.video_view].seconds)
        maps = list(outputs["video_map"])
        consensus = agreement(sides)
        found = localization(maps, boxes, consensus=consensus)
        guess = localization([centre_box(boxes)] * len(boxes), boxes, consensus=consensus)
        prefix = f"{name}/" if scores else ""
        num = int(scorable(boxes).sum())
        scores += [
            Score("video", f"{prefix}{metric}", found[metric], guess[metric], num)
            for metric in METRICS
        ]
        # Two boxes of two annotators are one object.
        if consensus == 1 and (pairs := two_objects(boxes)):
            several = list(outputs.get("video_maps", outputs["video_map"][:, None]))
            apart, guess = (
                told_apart(several, boxes),
                told_apart(several[-1:] + several[:-1], boxes),
            )
            scores.append(Score("video", f"{prefix}separated", apart, guess, len(pairs)))
    if not scores:
        raise UsageError("no objective of this run gives a map of the picture, as dmc does")
    return scores


def true_boxes(sides: Sides, view: str, seconds: float) -> list[np.ndarray]:
    """Boxes of what sounds in each test clip, as fractions of the crop that was looked at."""
    source, geometry = sides.scored[0], sides.test.geometry[view]
    found = []
    for row, index in enumerate(sides.test.index):
        truth = truth_of(source, int(index))
        boxes = sounding_boxes(truth, float(geometry["start_seconds"][row]), seconds)
        found.append(boxes_in_view(boxes, geometry["box"][row], bool(geometry["flip"][row])))
    return found


def agreement(sides: Sides) -> int:
    """The `consensus` of the test part, which all its clips must share."""
    source = sides.scored[0]
    found = {box_consensus(truth_of(source, int(index))) for index in sides.test.index}
    if len(found) > 1:
        raise UsageError(
            f"{source.spec} mixes boxes of several annotators with boxes of several objects, which have no "
            "common score; evaluate its parts one by one"
        )
    return found.pop() if found else 1
