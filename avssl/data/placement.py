"""Where each view of a record lies in time and space: draws that anyone can repeat.

Every draw comes from a generator of its own, seeded by (seed, position in the global order of
samples, what the draw is for), so it depends neither on hosts and workers nor on which other views
are read. Views that share an anchor share one window; equal views get equal placements.
"""

import dataclasses
import math
import zlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from avssl.data.views import SPREAD, SQUASH, AudioView, VideoView, View
from avssl.errors import UsageError
from avssl.media.sphere import Viewpoint, draw_viewpoints

# Tries of torchvision's RandomResizedCrop before it falls back to the centre.
CROP_TRIES = 10
# A record that is shorter than asked by less is long enough.
ROUNDING_SECONDS = 1e-6


@dataclasses.dataclass(frozen=True)
class Crop:
    """A box in pixels of the decoded frame, and whether the result is mirrored."""

    left: int
    top: int
    width: int
    height: int
    flip: bool

    def box(self, frame_width: int, frame_height: int) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) as fractions of the frame."""
        return (
            self.left / frame_width,
            self.top / frame_height,
            (self.left + self.width) / frame_width,
            (self.top + self.height) / frame_height,
        )


def generator(seed: int, position: int, purpose: str) -> np.random.Generator:
    """The source of one draw. crc32 and not hash(): the latter differs between processes."""
    return np.random.default_rng([seed, position, zlib.crc32(purpose.encode())])


def anchor_windows(views: Iterable[View]) -> dict[str, tuple[str, float]]:
    """For each anchor, how its window is placed and how long it is: as long as its longest view."""
    windows: dict[str, tuple[str, float]] = {}
    for view in views:
        window, seconds = windows.get(view.anchor, (view.window, 0.0))
        if window != view.window:
            raise UsageError(
                f"views with the anchor '{view.anchor}' place their common window both at "
                f"'{window}' and at '{view.window}': set the same `window` or another `anchor`"
            )
        windows[view.anchor] = (window, max(seconds, view.span_seconds))
    return windows


def place_in_time(
    views: Iterable[View],
    windows: Mapping[str, tuple[str, float]],
    *,
    duration_seconds: float,
    seed: int,
    position: int,
    fixed: Mapping[View, float] = MappingProxyType({}),
) -> dict[View, list[float]]:
    """Starts of each view's windows in seconds from the start of the record, such that they stay inside.

    A view longer than the record starts at 0; what it asks for past the end is for the decoder to
    fill. NaN where the record has no room for a view's shift, or for windows at fixed distances.

    fixed: views whose start is given, and with it that of every view that is placed as they are; the
    first window that others share with one lies around it, as far as the record allows. Such a view
    need not be among `views`.
    """
    middles = {view.anchor: start + view.span_seconds / 2 for view, start in fixed.items()}
    given = {view.placed_as: start for view, start in fixed.items()}

    def anchor_start(view: View, number: int) -> float:
        window, seconds = windows[view.anchor]
        room = max(0.0, duration_seconds - seconds)
        if number == 0 and view.anchor in middles:
            return min(max(middles[view.anchor] - seconds / 2, 0.0), room)
        share = share_of_room(window, view.anchor, seed, position, number, num_times(view))
        return share * room

    def view_start(view: View, number: int) -> float:
        if number == 0 and view.placed_as in given:
            return given[view.placed_as]
        draws = generator(seed, position, numbered(f"time {view.placed_as}", number))
        seconds = windows[view.anchor][1]
        return _view_start(view, anchor_start(view, number), seconds, duration_seconds, draws)

    def view_starts(view: View) -> list[float]:
        if view.every_seconds is None or view.windows == 1:
            return [view_start(view, number) for number in range(num_times(view))]
        has_room = view.span_seconds <= duration_seconds + ROUNDING_SECONDS
        first = view_start(view, 0) if has_room else math.nan
        return [first + number * view.every_seconds for number in range(view.windows)]

    return {view: view_starts(view) for view in views}


def share_of_room(
    window: str, anchor: str, seed: int, position: int, number: int = 0, count: int = 1
) -> float:
    """Where in [0, 1] of the room that it has window `number` of the `count` of an anchor lies."""
    if window == SPREAD and count > 1:
        return number / (count - 1)
    if window != "random":
        return 0.5
    return generator(seed, position, numbered(f"window {anchor!r}", number)).random()


def numbered(purpose: str, number: int) -> str:
    """The first window of a view draws as the only one would."""
    return f"{purpose} {number}" if number else purpose


def num_times(view: View) -> int:
    """How many windows in time a view has: directions of a panorama, or crops, share one."""
    if getattr(view, "projection", "flat") == "sphere":
        return 1
    return view.windows // getattr(view, "crops", 1)


def num_windows_every(view: View, every_seconds: float, duration_seconds: float) -> int:
    """How many windows that begin so often after one another a record has, from its start; at least one."""
    room = max(0.0, duration_seconds - view.seconds)
    return math.floor(room / every_seconds + ROUNDING_SECONDS) + 1


def _view_start(
    view: View,
    window_start: float,
    window_seconds: float,
    duration_seconds: float,
    draws: np.random.Generator,
) -> float:
    align, jitter = draws.random(2)
    share = {"start": 0.0, "center": 0.5, "random": align}[view.align]
    start = window_start + share * (window_seconds - view.span_seconds)
    start += (2 * jitter - 1) * view.jitter_seconds
    last = max(0.0, duration_seconds - view.span_seconds)
    start = min(max(start, 0.0), last)
    return _shifted(start, last, view.shift_seconds, draws) if any(view.shift_seconds) else start


def _shifted(
    start: float, last: float, shift: tuple[float, float], draws: np.random.Generator
) -> float:
    """Uniform over all places in [0, last] that lie `shift` (least, most) away from `start`."""
    least, most = shift
    spans = [
        (low, high)
        for low, high in (
            (max(start - most, 0.0), start - least),
            (start + least, min(start + most, last)),
        )
        if low <= high
    ]
    if not spans:
        return math.nan
    share = draws.random()
    room = sum(high - low for low, high in spans)
    if not room:
        # Each is a single place.
        return spans[int(share * len(spans))][0]
    low, high = spans[0]
    place = share * room
    if len(spans) == 2 and place > high - low:
        return spans[1][0] + place - (high - low)
    return low + place


def place_in_space(
    view: VideoView,
    *,
    frame_width: int,
    frame_height: int,
    seed: int,
    position: int,
    number: int = 0,
) -> Crop:
    """The crop of all frames of a clip, or of its window `number`.

    "random" is torchvision's RandomResizedCrop: area uniform in `crop_area`, log aspect uniform,
    ten tries, else the largest centred box of a permitted aspect. "center" is the square of `size`
    pixels in the middle, which needs no resizing; of a `SpreadVideoView` such squares along the longer side.
    "squash" is the whole frame.
    A view that is placed with another has its crop, to a pixel of the coarser frames.
    """
    if view.placed_with is not None:
        return _as_placed(view.placed_with, frame_width, frame_height, seed, position, number)
    draws, flip = drawn_flip(view, seed, position, number)
    if view.crop == SQUASH:
        return Crop(0, 0, frame_width, frame_height, flip)
    if view.crop == "center":
        side = min(view.size, frame_width, frame_height)
        width, height = side, side
        if (crops := getattr(view, "crops", 1)) > 1:
            room = max(frame_width, frame_height) - side
            along = round(number % crops / (crops - 1) * room)
            across = (min(frame_width, frame_height) - side) // 2
            wide = frame_width >= frame_height
            left, top = (along, across) if wide else (across, along)
            return Crop(left, top, side, side, flip)
    else:
        for _ in range(CROP_TRIES):
            area = frame_width * frame_height * draws.uniform(*view.crop_area)
            low, high = map(math.log, view.crop_aspect)
            aspect = math.exp(draws.uniform(low, high))
            width = round(math.sqrt(area * aspect))
            height = round(math.sqrt(area / aspect))
            if 0 < width <= frame_width and 0 < height <= frame_height:
                left = int(draws.integers(frame_width - width + 1))
                top = int(draws.integers(frame_height - height + 1))
                return Crop(left, top, width, height, flip)
        low, high = view.crop_aspect
        aspect = min(max(frame_width / frame_height, low), high)
        width = min(frame_width, round(frame_height * aspect))
        height = min(frame_height, round(frame_width / aspect))
    return Crop((frame_width - width) // 2, (frame_height - height) // 2, width, height, flip)


def _as_placed(
    placer: VideoView, frame_width: int, frame_height: int, seed: int, position: int, number: int
) -> Crop:
    """The crop of a view, on frames of another size than its own."""
    scale = min(frame_width, frame_height) / placer.decode_size
    crop = place_in_space(
        placer, frame_width=round(frame_width / scale), frame_height=round(frame_height / scale),
        seed=seed, position=position, number=number,
    )  # fmt: skip
    width = min(max(1, round(crop.width * scale)), frame_width)
    height = min(max(1, round(crop.height * scale)), frame_height)
    left = min(round(crop.left * scale), frame_width - width)
    top = min(round(crop.top * scale), frame_height - height)
    return Crop(left, top, width, height, crop.flip)


def drawn_flip(
    view: View, seed: int, position: int, number: int = 0
) -> tuple[np.random.Generator, bool]:
    """The source of the draws in space of a view's window, and the first of them: whether it is mirrored.

    The one rule for pictures and for what was said of them beforehand, whether they are decoded or not.
    """
    draws = generator(seed, position, numbered(f"space {view.placed_as}", number))
    mirrored = bool(draws.random() < 0.5)
    return draws, mirrored and getattr(view, "flip", False)


def is_mirrored(view: View, seed: int, position: int, number: int = 0) -> bool:
    """Whether a window of a view is mirrored; of sound, whether the picture is that it goes with."""
    picture = view.mirrored_with if isinstance(view, AudioView) else view
    return picture is not None and drawn_flip(picture, seed, position, number)[1]


def place_on_sphere(view: VideoView, *, seed: int, position: int) -> list[Viewpoint]:
    """The viewing directions of a clip."""
    return draw_viewpoints(generator(seed, position, f"space {view.placed_as}"), view.windows)


def sample_window(view: AudioView, start_seconds: float) -> slice:
    """The samples of a view, counted from the start of the record at the view's rate."""
    first = round(start_seconds * view.rate)
    return slice(first, first + view.num_samples)
