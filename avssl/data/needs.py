"""What a view asks of the media beyond a picture or a sound, and whether a source has it."""

import dataclasses
from collections.abc import Callable

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

# What is needed, which generated world has it, and whether a file does.
Need = tuple[str, str, Callable[[Probe], bool]]


def needs_of(view: View) -> list[Need]:
    needs: list[Need] = []
    if isinstance(view, AudioView) and view.channels > 1:
        kind = {2: "stereo sound", 4: "first-order ambisonic sound (4 channels)"}[view.channels]
        world = {2: "quickstart", 4: "sphere"}[view.channels]
        needs.append((kind, world, lambda found: found.audio_channels >= view.channels))
    if isinstance(view, VideoView) and view.projection == "sphere":
        low, high = PANORAMA_ASPECT
        needs.append((
            "360-degree video (equirectangular, twice as wide as high)", "sphere",
            lambda found: low <= found.width / max(found.height, 1) <= high,
        ))  # fmt: skip
    if isinstance(view, VideoView) and (stream := view.stream):
        needs.append(
            (f"video stream '{stream}'", "eyes", lambda found: stream in found.video_streams)
        )
    if any(view.shift_seconds) or (view.every_seconds and view.windows > 1):
        seconds = view.span_seconds + view.shift_seconds[0]
        needs.append((
            f"clips of at least {seconds:g} s", "long",
            lambda found: found.duration_seconds >= seconds,
        ))  # fmt: skip
    return needs


def what_is_lacking(source: Source, indices: np.ndarray, view: View) -> str:
    """What a view needs and none of some records of the source has, with a source that has it; else empty."""
    needs = needs_of(view)
    # Without any record the pipeline says so.
    if not needs or not len(indices):
        return ""
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
        found.append(dataclasses.replace(media, duration_seconds=end - start))
    for kind, world, has in needs:
        if found and not any(map(has, found)):
            return f"{kind}: none of {len(found)} records of {source.spec} has that; world:{world} does"
    return ""
