"""The forms in which clips are written. All are read back by the one decoding path.

MP4 and its elder sibling MOV, as both are one demuxer: tracks by name, hidden priming, promised
lengths. Frames of the other two stand alone, so each is sought exactly and what lies between those of a
view is not decoded.
"""

import dataclasses
from collections.abc import Mapping

from av.video.reformatter import ColorRange


@dataclasses.dataclass(frozen=True)
class VideoFormat:
    """A container and its codecs; `options` are of the video encoder."""

    container: str
    codec: str
    pixel_format: str
    color_range: ColorRange
    audio_codec: str
    audio_options: Mapping[str, str]
    options: Mapping[str, str]


# Noise substitution and intensity stereo would blur the phases between channels. The fast coder is four
# times as fast as the default, and its waveform is nearer to the source.
AAC = {
    "audio_codec": "aac",
    "audio_options": {"aac_coder": "fast", "aac_pns": "0", "aac_is": "0"},
}

VIDEO_FORMATS = {
    "h264": VideoFormat(
        container="mp4", codec="libx264", pixel_format="yuv420p", color_range=ColorRange.MPEG,
        options={"preset": "veryfast"}, **AAC,
    ),
    # With this quantiser as near to the source as H.264 at its default. Colour at half the resolution, too.
    "jpeg": VideoFormat(
        container="mov", codec="mjpeg", pixel_format="yuvj420p", color_range=ColorRange.JPEG,
        options={"qmin": "5", "qmax": "5"}, **AAC,
    ),
    # MOV knows no raw 4:2:0, whose half of the bytes would cost the frame being what it was built from.
    "raw": VideoFormat(
        container="mov", codec="rawvideo", pixel_format="rgb24", color_range=ColorRange.MPEG,
        audio_codec="pcm_s16le", audio_options={}, options={},
    ),
}  # fmt: skip
