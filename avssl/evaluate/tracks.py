"""Tracks of a run: the boxes that it finds in every frame of some clips, linked, against the objects there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avssl.console import say
from avssl.data.boxes import Detections, moved_into_view
from avssl.data.reader import LEAST_IN_VIEW
from avssl.data.record import truth_of
from avssl.data.truth import frame_times, identified_at
from avssl.data.views import VideoView
from avssl.evaluate.features import Extracted
from avssl.evaluate.intervals import intervals_of
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.evaluate.tracking import Tracked, Tracking, linked
from avssl.objectives.detecting import DetectingObjective
from avssl.train.model import Model

# So many clips, spread evenly over the test part: every frame of them is looked at.
MOST_CLIPS = 64
# A box that is less sure is part of no track, unless `eval.track_score` says otherwise.
LEAST_SCORE = 0.5
NO_OBJECT = "shows no object in any of the clips that are looked at"


def tracks(
    model: Model,
    sides: Sides,
    detecting: Mapping[str, DetectingObjective],
    least_score: float = LEAST_SCORE,
) -> dict[str, list[Score]]:
    """By objective `mota` and `idf1` of boxes from this score on, linked frame by frame.

    Counts of all clips together; "chance" is what the boxes of the clip before give. A clip with a frame that
    cannot be read is left out. Nothing, and a word, where no clip has objects in several frames, or none of
    those that are looked at shows any; a word where no box has the score, and both numbers are 0.
    """
    source, indices = sides.scored[0], sides.test.index
    places = np.unique(np.linspace(0, len(indices) - 1, MOST_CLIPS).round().astype(int))
    truths = {index: truth_of(source, index) for index in indices[places].tolist()}
    times = {index: frame_times(truth) for index, truth in truths.items()}
    longest = max(map(len, times.values()))
    if longest < 2:
        known = "knows where objects are in one frame alone"
        say(f"detection: no tracking: {source.spec} {known if longest else NO_OBJECT}")
        return {}
    if len(times) < len(indices):
        say(f"detection: mota and idf1 are of {len(times)} of {len(indices)} clips, evenly spread")
    repeated = np.repeat(list(times), [len(frames) for frames in times.values()])
    starts = np.concatenate(list(times.values()))
    extractor, scores = sides.extractor("features", model), {}
    for name, objective in detecting.items():
        view = model.views[objective.video_view]
        assert isinstance(view, VideoView)
        extracted = extractor.extract(
            {"": sides.variables}, source, repeated, sides.workers, starts, objective.video_view
        )[""]
        extracted = extracted.where(np.logical_and.reduce(list(extracted.present.values())))
        found, there = [], []
        for index, truth in truths.items():
            clip = extracted.where(extracted.index == index)
            if len(clip.index) < len(times[index]):
                continue
            boxes = clip.outputs[name]["boxes"]
            found.append(linked([sure(frame, least_score) for frame in boxes]))
            there.append(true_tracks(truth, clip, objective, view))
        if not any(len(frame) for clip in there for frame in clip):
            say(f"detection: no tracking by {name}: {source.spec} {NO_OBJECT}")
            continue
        # Of random weights, which have no intervals either, nobody expects any.
        if sides.with_intervals and not any(len(frame) for clip in found for frame in clip):
            say(
                f"detection: no box by {name} has a score of {least_score:g} in the clips that are tracked, so "
                "mota and idf1 are 0; eval.track_score takes boxes that are less sure"
            )
        ours = Tracking(found, there)
        guess = Tracking(of_other_clips(found, there), there).of_clips()
        values = ours.of_clips()
        intervals = intervals_of(ours, values, len(there))
        scores[name] = scores_of("boxes", "", values, guess, len(there), intervals)
    return scores


def sure(boxes: np.ndarray, least_score: float) -> Detections:
    """A row of an objective's `boxes`, as far as they are sure enough."""
    kept = np.asarray(boxes, np.float64)[boxes[:, 4] >= least_score]
    return Detections(kept[:, :4], kept[:, 5].astype(np.int64), kept[:, 4])


def true_tracks(
    truth: Mapping[str, Any], clip: Extracted, objective: DetectingObjective, view: VideoView
) -> list[Tracked]:
    """What each frame of a clip shows, in shares of the view."""
    places = clip.geometry[objective.video_view]
    frames = []
    for row, seconds in enumerate(places["start_seconds"].tolist()):
        objects, identities = identified_at(
            truth, seconds, sounding=True if view.heard_objects else None
        )
        moved, kept = moved_into_view(
            objects.boxes, places["box"][row], bool(places["flip"][row]), LEAST_IN_VIEW
        )
        labels = np.zeros_like(objects.labels) if objective.agnostic else objects.labels
        frames.append(Tracked(moved[kept], labels[kept], identities[kept]))
    return frames


def of_other_clips(
    found: Sequence[Sequence[Tracked]], there: Sequence[Sequence[Tracked]]
) -> list[list[Tracked]]:
    """The tracks of the clip before, as long as each clip: cut, or nothing at its end."""
    none = np.zeros(0, np.int64)
    nothing = Tracked(np.zeros((0, 4)), none, none)
    others = [*found[-1:], *found[:-1]]
    return [
        [*other[: len(frames)], *[nothing] * (len(frames) - len(other))]
        for other, frames in zip(others, there, strict=True)
    ]
