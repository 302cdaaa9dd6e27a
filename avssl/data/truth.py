"""What a generated world or an annotated data set knows about its clips, as the protocols ask for it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from avssl.data.boxes import Objects
from avssl.errors import UsageError
from avssl.media.video import DISPLAY_TOLERANCE_SECONDS

# Where a source of annotated pictures keeps its boxes.
ANNOTATED = "sounding_boxes"
# What is read in a record's truth and is no text: no source may keep anything else under these names.
# (`fps` and `weather` are read beside `objects` alone.)
STRUCTURED = frozenset(
    ("classes", "ignored", "trials", "objects", "faults", "consensus", ANNOTATED)
)


def still_objects(
    found: Iterable[tuple[int, Sequence[float]]], names: Sequence[str]
) -> dict[str, Any]:
    """The truth of things that stay where they are, all along a record: (class, box in shares) of each.

    Nobody says that they are heard.
    """
    things = [
        {
            "class": number, "class_name": names[number], "visible": True, "sounding": False,
            "boxes": [list(box)],
        }
        for number, box in found
    ]  # fmt: skip
    # One frame, however long the record is: the last one stays on display.
    return {"fps": 1.0, "objects": things}


def sounding_boxes(
    truth: Mapping[str, Any], times: Sequence[float] | Float[np.ndarray, "k"]
) -> Float[np.ndarray, "n 4"]:
    """A box (x0, y0, x1, y1), in shares of the frame, of each object that is seen and heard.

    Each is the mean of the object's boxes in the frames on display at `times`, which are seconds from
    the start of the record; past the clip's end its last frame stays.
    Sources beside the picture have no box, nor have vehicles that are outside of it in all of these
    frames; an object whose sound was swapped or silenced does not sound: such clips give an array
    of no boxes. Under music the objects are heard as well. Annotations that people made of one frame
    (Flickr-SoundNet, VGG-SS) are given as they are.
    """
    if ANNOTATED in truth:
        return np.array(truth[ANNOTATED], np.float64).reshape(-1, 4)
    boxes = seen_boxes(seen_and_heard(truth), float(truth["fps"]), times)
    return np.array([box for box in boxes if box is not None], np.float64).reshape(-1, 4)


def box_consensus(truth: Mapping[str, Any]) -> int:
    """How many boxes must lie on a pixel that wholly belongs to what sounds.

    More than one where they are several people's boxes of one thing: `consensus` of `localization`.
    """
    return int(truth.get("consensus", 1))


def objects_at(
    truth: Mapping[str, Any], seconds: float, *, sounding: bool | None = None
) -> Objects:
    """What the frame on display at that time shows: boxes and classes, in the order of the truth.

    `sounding`: those alone that are heard in the clip, or (False) those that are not.
    """
    return identified_at(truth, seconds, sounding=sounding)[0]


def identified_at(
    truth: Mapping[str, Any], seconds: float, *, sounding: bool | None = None
) -> tuple[Objects, Int[np.ndarray, "n"]]:
    """The same, and which each of them is: its place in the truth, at all times of the clip."""
    every = objects(truth)
    things = [
        (number, thing)
        for number, thing in enumerate(every)
        if thing["visible"] and sounding in (None, thing["sounding"])
    ]
    boxes = seen_boxes([thing for _, thing in things], float(truth["fps"]), [seconds])
    seen = [place for place, box in enumerate(boxes) if box is not None]
    found = Objects(
        np.array([boxes[place] for place in seen], np.float64).reshape(-1, 4),
        np.array([things[place][1]["class"] for place in seen], np.int64),
    )
    return found, np.array([things[place][0] for place in seen], np.int64)


def frame_times(truth: Mapping[str, Any]) -> Float[np.ndarray, "frames"]:
    """When each frame begins for which the truth has boxes."""
    frames = max((len(thing["boxes"] or ()) for thing in objects(truth)), default=0)
    return np.arange(frames) / float(truth["fps"])


def faults(truth: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of what keeps the clip's picture and sound from belonging together; none of a sound one."""
    if "faults" not in truth:
        raise _no_world("which clips are faulty")
    return tuple(name for name, there in truth["faults"].items() if there)


def seen_and_heard(truth: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [thing for thing in objects(truth) if thing["visible"] and thing["sounding"]]


def objects(truth: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "objects" not in truth:
        raise _no_world("where each object is and whether it sounds")
    return truth["objects"]


def seen_boxes(
    things: list[Mapping[str, Any]], fps: float, times: Sequence[float] | Float[np.ndarray, "k"]
) -> list[Float[np.ndarray, "4"] | None]:
    """The mean box of each over the frames at `times` in which it is; None if it is in none of them."""
    if any("direction_radians" in thing for thing in things):
        raise UsageError(
            "boxes on a sphere go round its edge and have no mean; evaluate localisation on a flat "
            "world, such as 'world:crowd@test'"
        )
    frames = np.floor((np.asarray(times, np.float64) + DISPLAY_TOLERANCE_SECONDS) * fps)
    means: list[np.ndarray | None] = []
    for thing in things:
        shown = np.clip(frames, 0, len(thing["boxes"]) - 1).astype(int).tolist()
        boxes = [thing["boxes"][frame] for frame in shown]
        seen = np.array([box for box in boxes if box is not None], np.float64)
        means.append(seen.mean(axis=0) if len(seen) else None)
    return means


def _no_world(what: str) -> UsageError:
    return UsageError(
        f"this source does not say {what}; a generated world does: evaluate on 'world:NAME@test'"
    )
