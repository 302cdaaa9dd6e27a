"""Localisation: does an objective's map of the picture show what sounds?"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avssl.console import say
from avssl.data.boxes import boxes_in_view
from avssl.data.record import truth_of
from avssl.data.truth import box_consensus, sounding_boxes
from avssl.data.views import VideoView, View
from avssl.errors import UsageError
from avssl.evaluate.heat_maps import Interpolation, fused, resize
from avssl.evaluate.localization import (
    PICTURE_SIZE,
    RELEASED,
    centre_box,
    centre_point,
    localization_by_clip,
    pointing,
    scorable,
)
from avssl.evaluate.objects import ObjectNetwork
from avssl.evaluate.separation import told_apart, two_objects
from avssl.evaluate.sides import Score, Sides
from avssl.train.model import Model


@dataclasses.dataclass(frozen=True)
class MapOptions:
    """Which maps are scored, and by whose rules.

    share: of the audio-visual map in one that is fused with a map of objects (see `fused`); both are then
    scored beside it. None is the audio-visual map alone. released: a name in `RELEASED`, whose threshold and
    resizing to take; any other is ours. objects: the network whose map of objects it is; None is the run's own.
    """

    share: float | None = None
    released: str = ""
    objects: ObjectNetwork | None = None

    def __post_init__(self):
        if self.share is not None and not 0 <= self.share <= 1:
            raise UsageError(
                f"--alpha is the share of the audio-visual map, from 0 to 1, not {self.share}"
            )

    @property
    def rules(self) -> dict[str, Any]:
        """Arguments of `localization`."""
        return dict(RELEASED.get(self.released, {}))

    @property
    def interpolation(self) -> Interpolation:
        return self.rules.get("interpolation", "bilinear")


PLAIN = MapOptions()


def places(model: Model, sides: Sides, options: MapOptions = PLAIN) -> list[Score]:
    """cIoU of `video_map` with the boxes of the sounding objects; "chance" is a box in the centre.

    Of `pointing`, the share of clips whose largest heat lies in a box, it is the point in the centre.
    With a share in the options the map of objects and the fused one are scored beside it, as features
    `objects` and `fused`: see `maps_by_kind`.

    `separated` (see `told_apart`), of `video_maps` where an objective has several: on the clips with two
    such objects, and beside it what the maps of the clip before give.
    """
    mapping, truths = mapping_objectives(model, sides), truths_of(sides)
    consensus = common_consensus(truths)
    scored = functools.partial(localization_by_clip, consensus=consensus, **options.rules)
    scores = []
    for name in mapping:
        view = model.objectives[name].video_view
        outputs = sides.test.outputs[name]
        boxes = true_boxes(truths, sides.test.geometry[view], model.views[view])
        tell_unscored(model, sides, view, boxes)
        guess = scored([centre_box(boxes)] * len(boxes), boxes)
        shown = [boxes[clip] for clip in np.flatnonzero(scorable(boxes))]
        guess["pointing"] = np.array(
            [pointing(centre_point(), own, consensus=consensus) for own in shown]
        )
        prefix = f"{name}/" if scores else ""
        for kind, maps in maps_by_kind(model, sides, name, options).items():
            elsewhere = kind == "objects" and options.objects is not None
            for metric, of_clips in scored(maps, boxes).items():
                chance = float(guess[metric].mean())
                score = Score.of_clips(kind, f"{prefix}{metric}", of_clips, chance)
                scores.append(dataclasses.replace(score, of_weights=not elsewhere))
        # Two boxes of two annotators are one object.
        if consensus == 1 and (pairs := two_objects(boxes)):
            several = list(outputs.get("video_maps", outputs["video_map"][:, None]))
            apart, others = (
                told_apart(each, boxes, pairs) for each in (several, several[-1:] + several[:-1])
            )
            scores.append(
                Score.of_clips("video", f"{prefix}separated", apart, float(others.mean()))
            )
    return scores


def tell_unscored(model: Model, sides: Sides, view: str, boxes: Sequence[np.ndarray]) -> None:
    """Says, once for all weights, how many clips have no box, or have theirs beside the crop."""
    if (use := f"boxes in {view}") in sides.compiled:
        return
    sides.compiled[use] = shown = scorable(boxes)
    if shown.all():
        return
    geometry = sides.test.geometry[view]
    frames = {**geometry, "box": np.tile([0.0, 0.0, 1.0, 1.0], (len(boxes), 1))}
    beside = scorable(true_boxes(truths_of(sides), frames, model.views[view])) & ~shown
    lost, cut = np.count_nonzero(~shown), np.count_nonzero(beside)
    say(
        f"localization: {lost} of {len(boxes)} clips are not scored: {lost - cut} show nothing that sounds"
        + (f", {cut} show it beside the crop alone" if cut else "")
    )


def mapping_objectives(model: Model, sides: Sides) -> list[str]:
    found = [name for name in model.objectives if "video_map" in sides.test.outputs[name]]
    if not found:
        raise UsageError("no objective of this run gives a map of the picture, as dmc does")
    return found


def truths_of(sides: Sides) -> list[Mapping[str, Any]]:
    """Of each test clip."""
    return [truth_of(sides.scored[0], index) for index in sides.test.index.tolist()]


def maps_by_kind(
    model: Model, sides: Sides, name: str, options: MapOptions
) -> dict[str, Sequence[np.ndarray]]:
    """The heat maps of all clips: `video`, of picture and sound, and what the options ask for beside it.

    `objects` is where a picture encoder sees anything: the mean over channels of the magnitudes of its map,
    and over frames. EZ-VSL takes another network for it, trained on ImageNet, which the options name; without
    one it is the run's own, which has learnt from sound as well. `fused` joins the two.
    """
    outputs = sides.test.outputs[name]
    maps: dict[str, Sequence[np.ndarray]] = {"video": list(outputs["video_map"])}
    if options.share is not None:
        view = model.objectives[name].video_view
        maps["objects"] = list(
            outputs["object_map"]
            if options.objects is None
            else options.objects.maps(view, model.views[view], sides)
        )
        maps["fused"] = FusedMaps(maps["video"], maps["objects"], options)
    return maps


@dataclasses.dataclass(frozen=True)
class FusedMaps(Sequence[np.ndarray]):
    """Both maps of each clip at the picture's size, as one; made when it is asked for, as all are large."""

    heats: Sequence[np.ndarray]
    objects: Sequence[np.ndarray]
    options: MapOptions

    def __len__(self) -> int:
        return len(self.heats)

    def __getitem__(self, clip: Any) -> Any:
        heat, objects = (
            resize(maps[clip], PICTURE_SIZE, self.options.interpolation)
            for maps in (self.heats, self.objects)
        )
        assert self.options.share is not None
        return fused(heat, objects, self.options.share)


def true_boxes(
    truths: Sequence[Mapping[str, Any]], geometry: Mapping[str, np.ndarray], view: View
) -> list[np.ndarray]:
    """Boxes of what sounds in the frames that each test clip shows, as fractions of the crop looked at."""
    assert isinstance(view, VideoView)
    found = []
    for row, truth in enumerate(truths):
        boxes = sounding_boxes(truth, float(geometry["start_seconds"][row]) + view.times)
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
