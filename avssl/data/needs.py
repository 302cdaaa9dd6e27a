"""What a view asks of the media beyond a picture or a sound, and whether a source has it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from avssl.data.record import Source
from avssl.data.span import span_in_file
from avssl.data.views import AudioView, VideoView, View
from avssl.media.errors import MediaError
from avssl.media.probe import Probe, probe

# Records that are opened, spread over the source; those that cannot be read say nothing.
NUM_LOOKED_AT = 8
# Width over height of an equirectangular picture.
PANORAMA_ASPECT = (1.9, 2.1)


@dataclasses.dataclass(frozen=True)
class Found:
    """A record that was looked at: its file, and what its source knows of it."""

    media: Probe
    truth: Mapping[str, Any]


# What is needed, which source has it, and whether a record does.
Need = tuple[str, str, Callable[[Found], bool]]


def needs_of(view: View) -> list[Need]:
    needs: list[Need] = []
    if isinstance(view, AudioView) and view.channels > 1:
        kind, example = {
            2: ("stereo sound", "world:quickstart"),
            4: ("first-order ambisonic sound (4 channels)", "world:sphere"),
            8: ("the sound of 8 microphones", "mavd:ROOT@SPLIT"),
        }[view.channels]
        needs.append((kind, example, lambda found: found.media.audio_channels >= view.channels))
    if isinstance(view, VideoView) and view.projection == "sphere":
        low, high = PANORAMA_ASPECT
        needs.append((
            "360-degree video (equirectangular, twice as wide as high)", "world:sphere",
            lambda found: low <= found.media.width / max(found.media.height, 1) <= high,
        ))  # fmt: skip
    if isinstance(view, VideoView) and (stream := view.stream):
        needs.append(
            (
                f"video stream '{stream}'",
                "world:eyes",
                lambda found: stream in found.media.video_streams,
            )
        )
    if isinstance(view, VideoView) and view.objects:
        needs.append(("boxes of objects", "world:vehicles", lambda found: "objects" in found.truth))
    if any(view.shift_seconds) or (view.every_seconds and view.windows > 1):
        seconds = view.span_seconds + view.shift_seconds[0]
        needs.append((
            f"clips of at least {seconds:g} s", "world:long",
            lambda found: found.media.duration_seconds >= seconds,
        ))  # fmt: skip
    return needs


def looked_at(source: Source, indices: np.ndarray) -> list[Found]:
    """A few of these records, opened, without those that cannot be read."""
    places = np.unique(np.linspace(0, len(indices) - 1, NUM_LOOKED_AT).astype(int))
    found = []
    for index in indices[places]:
        try:
            record = source[int(index)]
            media = probe(record.media)
            start, end = span_in_file(record, media.duration_seconds)
        except MediaError:
            continue
        # A record may be a part of its file.
        media = dataclasses.replace(media, duration_seconds=end - start)
        found.append(Found(media, record.truth))
    return found


def modalities_there(source: Source, indices: np.ndarray) -> set[str]:
    """The modalities that some of these records have, as far as the source knows or a few of them show."""
    if (known := source.modalities()) is not None:
        pairs = zip(("video", "audio"), known, strict=True)
        return {modality for modality, has in pairs if has[indices].any()}
    found = [one.media for one in looked_at(source, indices)] if len(indices) else []
    return {
        modality
        for modality in ("video", "audio")
        # Where none can be read, the evaluation itself says so.
        if not found or any(getattr(media, f"has_{modality}") for media in found)
    }


def all_modalities_known(source: Source) -> bool:
    """Whether somebody has opened all files: the unopened part of a mix counts as having everything."""
    return all(
        part.modalities() is not None for part, _ in getattr(source, "parts", ((source, 1),))
    )


def what_is_lacking(source: Source, indices: np.ndarray, view: View) -> str:
    """What a view needs and none of some records of the source has, with a source that has it; else empty."""
    needs = needs_of(view)
    # Without any record the pipeline says so.
    if not needs or not len(indices):
        return ""
    found = looked_at(source, indices)
    for kind, example, has in needs:
        if found and not any(map(has, found)):
            return f"{kind}: none of {len(found)} records of {source.spec} has that; {example} does"
    return ""
