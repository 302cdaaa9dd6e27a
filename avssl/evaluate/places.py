"""Localisation: does an objective's map of the picture show what sounds?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avssl.data.boxes import boxes_in_view
from avssl.data.record import truth_of
from avssl.data.truth import box_consensus, sounding_boxes
from avssl.errors import UsageError
from avssl.evaluate.localization import centre_box, localization, scorable
from avssl.evaluate.separation import told_apart, two_objects
from avssl.evaluate.sides import Score, Sides
from avssl.train.model import Model

METRICS = ("ciou", "ciou_auc", "mean_ciou", "pointing")


def places(model: Model, sides: Sides) -> list[Score]:
    """cIoU of `video_map` with the boxes of the sounding objects; "chance" is a box in the centre.

    `separated` (see `told_apart`), of `video_maps` where an objective has several: on the clips with two
    such objects, and beside it what the maps of the clip before give.
    """
    mapping = [name for name in model.objectives if "video_map" in sides.test.outputs[name]]
    if not mapping:
        raise UsageError("no objective of this run gives a map of the picture, as dmc does")
    truths = [truth_of(sides.scored[0], index) for index in sides.test.index.tolist()]
    consensus = common_consensus(truths)
    scores = []
    for name in mapping:
        outputs, view = sides.test.outputs[name], model.objectives[name].video_view
        boxes = true_boxes(truths, sides.test.geometry[view], model.views[view].seconds)
        maps = list(outputs["video_map"])
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
            apart, others = (
                told_apart(each, boxes, pairs) for each in (several, several[-1:] + several[:-1])
            )
            scores.append(Score("video", f"{prefix}separated", apart, others, len(pairs)))
    return scores


def true_boxes(
    truths: Sequence[Mapping[str, Any]], geometry: Mapping[str, np.ndarray], seconds: float
) -> list[np.ndarray]:
    """Boxes of what sounds in each test clip, as fractions of the crop that was looked at."""
    found = []
    for row, truth in enumerate(truths):
        boxes = sounding_boxes(truth, float(geometry["start_seconds"][row]), seconds)
        found.append(boxes_in_view(boxes, geometry["box"][row], bool(geometry["flip"][row])))
    return found


def common_consensus(truths: Sequence[Mapping[str, Any]]) -> int:
    """How many boxes make a pixel wholly true, which all clips must share: see `localization`."""
    found = {box_consensus(truth) for truth in truths}
    if len(found) > 1:
        raise UsageError(
            "boxes of several annotators and boxes of several objects have no common score; evaluate the "
            "parts of the mix one by one"
        )
    return found.pop()
