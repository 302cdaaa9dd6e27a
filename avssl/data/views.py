"""Views: named windows into a record.

Everything that decides which pixels and samples come out is part of a view's identity, so that equal
specifications can be decoded and encoded once. Augmentations that run on the device (colour, volume)
are part of it too: two views that differ in them are two views.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from avssl.errors import UsageError, unknown

ALIGNMENTS = ("start", "center", "random")
WINDOWS = ("random", "center")
# Of an evaluation alone: windows evenly from the first moment to the last.
SPREAD = "spread"
# What is seen of a frame; "squash" is the whole of it, whatever its aspect.
SQUASH = "squash"
CROPS = ("random", "center", SQUASH)
# Keys by which a view names another.
NAMED_VIEWS = {"mirrored_with": "audio", "placed_with": "video"}
PROJECTIONS = ("flat", "sphere")
# Mono, stereo, first-order ambisonics and microphones.
CHANNELS = (1, 2, 4, 8)
# Of these it is known which are left and right.
SIDED_CHANNELS = (2, 4)
COUNTS = ("frames", "size", "rate", "channels", "windows")
POSITIVE = ("fps", "seconds", "every_seconds")
# Of a view that is placed with another: what may differ.
UNPLACED = (
    "size", "stream", "brightness", "contrast", "saturation", "hue", "objects", "heard_objects",
    "placed_with",
)  # fmt: skip
FRACTIONS = ("brightness", "contrast", "saturation", "hue", "volume")


class ViewBase:
    """What views of both modalities share."""

    def __repr__(self) -> str:
        """The fields that differ from their defaults: a draw is seeded by this text, and so does not move
        when views learn something new."""
        fields: Any = dataclasses.fields(self)  # type: ignore[arg-type]
        named = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(named)})"

    @functools.cached_property
    def placed_as(self) -> str:
        """The name of the view's draws in time and space."""
        return repr(self)

    @property
    def span_seconds(self) -> float:
        """From the start of the first window to the end of the last, where these lie at fixed distances."""
        view: Any = self
        return view.seconds + (view.windows - 1) * (view.every_seconds or 0.0)


@dataclasses.dataclass(frozen=True, repr=False)
class VideoView(ViewBase):
    """Frames of a record, cropped to a square: at random, in the middle, or squashed into one.

    Views with the same `anchor` share one window in time, as long as the longest of them. `window` says
    where that window lies in the record; `align` where this view lies inside it; `jitter_seconds` moves
    the view by a uniform draw of at most that much to either side. `shift_seconds` (least, most) then
    moves it by a drawn amount of that size, earlier or later, whatever fits into the record; a record
    without room for it lacks the view.

    `windows` of more than one gives the array an axis of its own after the batch's: so many draws of the
    window in time or, of an equirectangular video (`projection="sphere"`), so many viewing directions at
    one time, drawn as `media/sphere.py` says. With `every_seconds` they are not drawn each on its own but
    begin so many seconds after one another, and are placed as one view that lasts from the first to the last:
    time slots. A record without room for all of them lacks the view. `released_sampling` crops a panorama as
    the released code of AVSA does, up to a pixel off its direction.

    `stream` names another video track of the same file (depth, thermal; empty: the default one). Views
    that differ in nothing else show the same times and are cropped and flipped alike.

    `placed_with` is the video view of another size whose moment, crop and flip it shows; in a config its name,
    empty for none. The two differ in nothing else that places them.

    `objects` says where things are, for a picture of one frame: the first so many boxes that the source knows
    of what is in it, in shares of the view, with their classes. `heard_objects`: of those alone that sound.
    """

    frames: int = 8
    fps: float = 16.0
    size: int = 112
    anchor: str = "clip"
    window: str = "random"
    align: str = "random"
    jitter_seconds: float = 0.0
    shift_seconds: tuple[float, float] = (0.0, 0.0)
    windows: int = 1
    every_seconds: float | None = None
    projection: str = "flat"
    released_sampling: bool = False
    crop: str = "random"
    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    stream: str = ""
    objects: int | None = None
    heard_objects: bool = False
    placed_with: "VideoView | None" = None

    modality = "video"

    @functools.cached_property
    def placed_as(self) -> str:
        if self.placed_with is not None:
            return self.placed_with.placed_as
        return repr(dataclasses.replace(self, stream="", released_sampling=False))

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    @functools.cached_property
    def times(self) -> Float[np.ndarray, "frames"]:
        """When its frames are shown, in seconds from its start."""
        return np.arange(self.frames) / self.fps

    @property
    def decode_size(self) -> int:
        """Short side that frames are decoded to: a margin wider than the crop (256 for 224)."""
        # A quarter of a panorama's width, which is its widest crop, is then as large as the crop.
        return 2 * self.size if self.projection == "sphere" else math.ceil(self.size * 8 / 7)

    @property
    def array(self) -> tuple[tuple[int, ...], type]:
        """Shape and type of one record's array."""
        shape = (self.frames, self.size, self.size, 3)
        return (shape if self.windows == 1 else (self.windows, *shape)), np.uint8

    @property
    def geometry(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Shapes and types of what is known about where one record's array lies."""
        axis = () if self.windows == 1 else (self.windows,)
        if self.projection == "sphere":
            places = {"direction": ((*axis, 2), np.float32), "field": ((*axis, 2), np.float32)}
            return {"start_seconds": ((), np.float32), **places}
        places = {
            "start_seconds": (axis, np.float32),
            "box": ((*axis, 4), np.float32),
            "flip": (axis, bool),
        }
        if self.objects:
            # Filled up with boxes of no extent and the class -1.
            places["objects"] = ((self.objects, 4), np.float32)
            places["classes"] = ((self.objects,), np.int32)
        return places

    def evaluation(self) -> "VideoView":
        """The same view without any draw: centre window, centre crop unless squashed, no augmentation."""
        return dataclasses.replace(
            self, window="center", align="center", jitter_seconds=0.0, flip=False,
            crop=SQUASH if self.crop == SQUASH else "center",
            brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, placed_with=None,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, repr=False)
class AudioView(ViewBase):
    """Samples of a record. Placed in time as a `VideoView` is; `volume` v draws a gain from [1-v, 1+v].

    `time_masks` and `frequency_masks` (how many, the widest as a share) hide stripes of the spectrogram that an
    encoder's front end makes of the view (SpecAugment); empty: none.

    `mirrored_with` is the video view whose flips the sound follows, window by window; in a config its name,
    empty for none. Where the picture is mirrored, left and right change places, and Y of ambisonics its sign.
    Views that differ in nothing else hear the same times.
    """

    seconds: float = 2.0
    rate: int = 24000
    channels: int = 1
    anchor: str = "clip"
    window: str = "random"
    align: str = "random"
    jitter_seconds: float = 0.0
    shift_seconds: tuple[float, float] = (0.0, 0.0)
    windows: int = 1
    every_seconds: float | None = None
    volume: float = 0.0
    time_masks: tuple[int | float, ...] = ()
    frequency_masks: tuple[int | float, ...] = ()
    mirrored_with: VideoView | None = None

    modality = "audio"

    @functools.cached_property
    def placed_as(self) -> str:
        return repr(dataclasses.replace(self, mirrored_with=None))

    @property
    def num_samples(self) -> int:
        return round(self.seconds * self.rate)

    @property
    def array(self) -> tuple[tuple[int, ...], type]:
        """Shape and type of one record's array."""
        shape = (self.num_samples, self.channels)
        return (shape if self.windows == 1 else (self.windows, *shape)), np.int16

    @property
    def geometry(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Shapes and types of what is known about where one record's array lies."""
        return {"start_seconds": (() if self.windows == 1 else (self.windows,), np.float32)}

    def evaluation(self) -> "AudioView":
        """The same view without any draw."""
        return dataclasses.replace(
            self,
            window="center",
            align="center",
            jitter_seconds=0.0,
            volume=0.0,
            time_masks=(),
            frequency_masks=(),
            mirrored_with=None,
        )


@dataclasses.dataclass(frozen=True, repr=False)
class SpreadVideoView(VideoView):
    """The view of an evaluation: of each of its windows in time so many crops, one after the other."""

    crops: int = 1


View = VideoView | AudioView
VIEWS = {"video": VideoView, "audio": AudioView}


def spread(view: View, clips: int, crops: int) -> View:
    """The evaluation's view of a view of one window: `clips` windows evenly over the record.

    Of a picture each in `crops` squares evenly along its longer side: `clips` x `crops` windows in all.
    """
    still = view.evaluation()
    if isinstance(still, AudioView):
        return dataclasses.replace(still, window=SPREAD, windows=clips)
    fields = {field.name: getattr(still, field.name) for field in dataclasses.fields(still)}
    return SpreadVideoView(**{**fields, "window": SPREAD, "windows": clips * crops, "crops": crops})


def squashed(view: View) -> View:
    """The view with the whole frame as its picture, and so what it is placed or mirrored with."""
    changed: dict[str, Any] = {"crop": SQUASH} if isinstance(view, VideoView) else {}
    for key in NAMED_VIEWS:
        if (other := getattr(view, key, None)) is not None:
            changed[key] = squashed(other)
    return dataclasses.replace(view, **changed)


def build_views(table: Mapping[str, Mapping[str, Any]]) -> dict[str, View]:
    """All views of a config."""
    return {name: build_view(name, config, table) for name, config in table.items()}


def build_view(
    name: str,
    config: Mapping[str, Any],
    table: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> View:
    """A view from its config sub-dict, whose key `modality` chooses the class.

    table: the sub-dicts of all views, for one that names another.
    """
    fields = dict(config)
    modality = fields.pop("modality", None)
    if modality not in VIEWS:
        raise unknown(f"modality of view '{name}'", str(modality), VIEWS)
    cls = VIEWS[modality]
    known = {field.name for field in dataclasses.fields(cls)}
    for key in fields:
        if key not in known:
            raise unknown(f"key of view '{name}'", key, known)
    for key, value in fields.items():
        if isinstance(value, list):
            fields[key] = tuple(value)
    mirror, place = (fields.pop(key, None) for key in NAMED_VIEWS)
    view = cls(**fields)
    check_numbers(name, view)
    for key, allowed in (
        ("align", ALIGNMENTS), ("window", WINDOWS), ("crop", CROPS), ("projection", PROJECTIONS),
    ):  # fmt: skip
        value = getattr(view, key, None)
        if value is not None and value not in allowed:
            raise unknown(f"{key} of view '{name}'", value, allowed)
    if mirror and isinstance(view, AudioView):
        return dataclasses.replace(view, mirrored_with=mirror_of(name, view, mirror, table))
    if place and isinstance(view, VideoView):
        return dataclasses.replace(view, placed_with=placer_of(name, view, place, table))
    return view


def mirror_of(
    name: str, view: AudioView, mirror: str, table: Mapping[str, Mapping[str, Any]]
) -> VideoView:
    """The view that a view's `mirrored_with` names, if the sound can follow its flips."""
    where = f"mirrored_with of view '{name}'"
    check_named(where, mirror, table)
    if view.channels not in SIDED_CHANNELS:
        unsided = (
            "one channel has neither" if view.channels == 1 else "of microphones neither is known"
        )
        raise UsageError(
            f"{where} swaps left and right, and {unsided}: set channels to 2 or 4 (ambisonics), or "
            "mirrored_with=''"
        )
    picture = build_view(mirror, table[mirror], table) if is_seen(table[mirror]) else None
    if not isinstance(picture, VideoView):
        raise UsageError(f"{where} is '{mirror}', which is heard: name a video view")
    if not picture.flip:
        raise UsageError(
            f"{where} is '{mirror}', which is never mirrored: set views.{mirror}.flip=True, or mirrored_with=''"
        )
    if picture.windows != view.windows:
        raise UsageError(
            f"{where} is '{mirror}', whose windows are mirrored one by one: it has {picture.windows} of them "
            f"and '{name}' {view.windows}, give both as many"
        )
    return picture


def placer_of(
    name: str, view: VideoView, other: str, table: Mapping[str, Mapping[str, Any]]
) -> VideoView:
    """The view that a view's `placed_with` names, if it can be placed as that is."""
    where = f"placed_with of view '{name}'"
    check_named(where, other, table)
    if not is_seen(table[other]) or table[other].get("placed_with"):
        raise UsageError(
            f"{where} is '{other}': name a video view that is placed by itself, or set placed_with=''"
        )
    placer = build_view(other, table[other])
    assert isinstance(placer, VideoView)
    if view.projection == "sphere":
        raise UsageError(f"{where}: views of a panorama have no crop to share, set placed_with=''")
    for field in dataclasses.fields(view):
        theirs = getattr(placer, field.name)
        if field.name not in UNPLACED and getattr(view, field.name) != theirs:
            raise UsageError(
                f"{where} is '{other}', whose moment and crop it shows: set views.{name}.{field.name}={theirs}"
            )
    return placer


def check_named(where: str, other: object, table: Mapping[str, Any]) -> None:
    if not isinstance(other, str) or other not in table:
        raise unknown(where, str(other), table)


def is_seen(config: Mapping[str, Any]) -> bool:
    return config.get("modality") != "audio"


def check_numbers(name: str, view: View) -> None:
    """Refuses what no window, crop or gain can be."""
    for key in COUNTS + POSITIVE + FRACTIONS:
        value = getattr(view, key, None)
        if value is None:
            continue
        kind = int if key in COUNTS else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            raise UsageError(f"{key} of view '{name}' must be a number, not {value!r}")
        low, high = (0, 1) if key in FRACTIONS else (1 if key in COUNTS else 1e-3, math.inf)
        if not low <= value <= high:
            wanted = f"between {low} and {high}" if key in FRACTIONS else f"at least {low}"
            raise UsageError(f"{key} of view '{name}' must be {wanted}, not {value}")
    if isinstance(view, AudioView) and view.channels not in CHANNELS:
        raise UsageError(
            f"channels of view '{name}' must be one of {CHANNELS}, not {view.channels}"
        )
    for key in ("time_masks", "frequency_masks"):
        masks: Any = getattr(view, key, ())
        if masks != () and not (
            is_span(masks) and isinstance(masks[0], int) and masks[0] >= 1 and 0 < masks[1] <= 1
        ):
            raise UsageError(
                f"{key} of view '{name}' must be (how many, the widest as a share of all), such as (2, 0.1), "
                f"or () for none, not {masks}"
            )
    if not isinstance(getattr(view, "stream", ""), str):
        raise UsageError(f"stream of view '{name}' must be the name of a video track")
    if view.jitter_seconds < 0:
        raise UsageError(f"jitter_seconds of view '{name}' must not be negative")
    for key, highest in (("crop_area", 1.0), ("crop_aspect", math.inf)):
        span = getattr(view, key, (0.1, 0.1))
        if not is_span(span) or not 0 < span[0] <= span[1] <= highest:
            raise UsageError(
                f"{key} of view '{name}' must be (lowest, highest) above 0, not {span}"
            )
    if not is_span(view.shift_seconds) or not 0 <= view.shift_seconds[0] <= view.shift_seconds[1]:
        raise UsageError(
            f"shift_seconds of view '{name}' must be (least, most), not {view.shift_seconds}"
        )
    if isinstance(view, VideoView) and view.projection == "sphere" and view.flip:
        raise UsageError(f"view '{name}' cannot flip a panorama: set flip=False")
    if isinstance(view, VideoView) and view.projection != "sphere" and view.released_sampling:
        raise UsageError(
            f"released_sampling of view '{name}' is of panoramas: set projection=sphere, or leave it out"
        )
    if view.every_seconds is not None and getattr(view, "projection", "flat") == "sphere":
        raise UsageError(
            f"view '{name}' looks in several directions at one time: leave every_seconds out"
        )
    if isinstance(view, VideoView) and view.objects is not None:
        check_objects(name, view)


def check_objects(name: str, view: VideoView) -> None:
    if not isinstance(view.objects, int) or isinstance(view.objects, bool) or view.objects < 1:
        raise UsageError(
            f"objects of view '{name}' must be a number of boxes, or None for none, not {view.objects!r}"
        )
    if view.frames != 1 or view.windows != 1 or view.projection == "sphere":
        raise UsageError(
            f"view '{name}' says where objects are, which is known of one flat picture: set frames=1, "
            "windows=1 and projection=flat, or leave objects out"
        )


def is_span(value: Any) -> bool:
    return len(value) == 2 and all(isinstance(end, int | float) for end in value)
