"""Are two sounding objects told apart: does each have a map of its own that points at it?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from avssl.evaluate.heat_maps import resize
from avssl.evaluate.localization import PICTURE_SIZE, Boxes, pointing, scorable

NUM_OBJECTS = 2

Maps = Float[np.ndarray, "k h w"]


def told_apart(
    maps: Sequence[Maps],
    boxes: Sequence[Boxes],
    clips: Sequence[int],
    *,
    size: int = PICTURE_SIZE,
) -> Float[np.ndarray, "n"]:
    """The share of objects that a map of their own points at, of each of `clips`, those of `two_objects`.

    Of each clip the first two maps are taken, the one for the one object and the other for the
    other, whichever way is better. Where there is one map it serves for both, and as its largest
    heat lies at one place, it finds one of two objects that do not overlap.
    """
    scores = [
        own_pointing([resize(one, size) for one in maps[clip][:NUM_OBJECTS]], boxes[clip])
        for clip in clips
    ]
    return np.array(scores, np.float64)


def two_objects(boxes: Sequence[Boxes], size: int = PICTURE_SIZE) -> list[int]:
    """The clips in whose picture two objects are seen and heard."""
    return [
        clip
        for clip, own in enumerate(boxes)
        if len(own) == NUM_OBJECTS and scorable([own[:1], own[1:]], size).all()
    ]


def own_pointing(maps: list[np.ndarray], boxes: Boxes) -> float:
    first, last = maps[0], maps[-1]
    one_way = pointing(first, boxes[:1]) + pointing(last, boxes[1:])
    other_way = pointing(last, boxes[:1]) + pointing(first, boxes[1:])
    return max(one_way, other_way) / NUM_OBJECTS
