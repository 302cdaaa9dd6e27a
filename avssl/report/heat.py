"""Localisation: where a run's objectives see the sound, over the frames."""

import numpy as np
from PIL import Image

from avssl.data.record import truth_of
from avssl.data.truth import box_consensus
from avssl.errors import UsageError
from avssl.evaluate.heat_maps import resize
from avssl.evaluate.heat_pictures import evenly_spread, middle_frames, overlaid, with_boxes
from avssl.evaluate.localization import PICTURE_SIZE, Boxes, consensus_iou, scorable
from avssl.evaluate.places import mapping_objectives, true_boxes, truths_of
from avssl.report.clips import picture_uri, shown_clips
from avssl.report.evidence import Evidence
from avssl.report.markup import Markup, data_script, note, tag
from avssl.report.tiles import Sounds, play_button

MOST_PICTURES = 12
SHOWN_SIZE = 160


def has_maps(evidence: Evidence) -> bool:
    return any("video_map" in own for own in evidence.sides.test.outputs.values())


def heat(evidence: Evidence) -> Markup:
    """For each objective with maps some clips: the frame, and the map over it."""
    sounds: Sounds = {}
    names = mapping_objectives(evidence.model, evidence.sides)
    drawn = [of_objective(evidence, name, sounds) for name in names]
    return tag("div", drawn, data_script(sounds, class_="sounds"))


def of_objective(evidence: Evidence, name: str, sounds: Sounds) -> Markup:
    sides = evidence.sides
    view_name = evidence.model.objectives[name].video_view
    boxes, missing = known_boxes(evidence, view_name)
    rows = np.arange(len(sides.test.index)) if missing else np.flatnonzero(scorable(boxes))
    rows = evenly_spread(rows, MOST_PICTURES)
    source, indices = sides.scored[0], sides.test.index[rows]
    frames = middle_frames(source, evidence.model.views[view_name], indices, sides.workers)
    clips = shown_clips(source, evidence.extractor, indices, sides.workers)
    figures = []
    for row, index in zip(rows.tolist(), indices.tolist(), strict=True):
        picture = np.asarray(
            Image.fromarray(frames[index]).resize(
                (PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BICUBIC
            )
        )
        level = resize(sides.test.outputs[name]["video_map"][row], PICTURE_SIZE)
        key = evidence.test_key(row)
        words = evidence.class_of(int(sides.test.labels[row])) or key
        score = None
        if not missing:
            consensus = box_consensus(truth_of(source, index))
            score = f"cIoU {consensus_iou(level, boxes[row], consensus=consensus):.2f}"
        panels = [
            tag("img", src=small_uri(with_boxes(pixels, boxes[row])), alt=f"{what} of {words}")
            for what, pixels in (("frame", picture), ("heat map", overlaid(picture, level)))
        ]
        said = tag("span", words, class_="name"), tag("span", score, class_="mark")
        button = play_button(clips.get(index), sounds, words)
        figures.append(
            tag(
                "figure", tag("div", panels, button, class_="pair media"),
                tag("figcaption", said), title=key,
            )
        )  # fmt: skip
    told = missing or "framed in green: what truly sounds"
    return tag(
        "div", note(f"{name}: the frame, and what sounds in it according to the run; {told}"),
        tag("div", figures, class_="maps"),
    )  # fmt: skip


def known_boxes(evidence: Evidence, view_name: str) -> tuple[list[Boxes], str]:
    """(boxes of what sounds in each test clip, why there are none)."""
    sides = evidence.sides
    view = evidence.model.views[view_name]
    try:
        boxes = true_boxes(truths_of(sides), sides.test.geometry[view_name], view)
        missing = "" if scorable(boxes).any() else "no test clip has a box of what sounds"
    except UsageError as error:
        boxes, missing = [np.zeros((0, 4))] * len(sides.test.index), f"without boxes, as {error}"
    return boxes, missing


def small_uri(picture: Image.Image) -> str:
    return picture_uri(picture.resize((SHOWN_SIZE, SHOWN_SIZE), Image.Resampling.LANCZOS))
