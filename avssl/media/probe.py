"""What a file says of itself, checked by decoding its first frame."""

import dataclasses

from avssl.media.clock import Clock
from avssl.media.container import COUNTED_FORMATS, OpenMedia, open_media
from avssl.media.errors import MediaError
from avssl.media.limits import DEFAULT_LIMITS, Limits
from avssl.media.video import display_size, nominal_fps, orientation, rotation_degrees, shown_frames


@dataclasses.dataclass(frozen=True)
class Probe:
    """Width and height are those of upright frames with square pixels.

    `rotation` is in degrees clockwise, `fps` the mean rate. What a missing track would say is 0
    or "". `video_streams` are the names of further video tracks that begin with a frame: one that
    cannot be decoded is no fault of the file, which is good without it.
    """

    duration_seconds: float
    has_video: bool
    has_audio: bool
    width: int
    height: int
    fps: float
    audio_rate: int
    audio_channels: int
    rotation: int
    video_codec: str
    audio_codec: str
    container: str
    video_streams: tuple[str, ...] = ()


def probe(media: bytes | str, limits: Limits = DEFAULT_LIMITS, clock: Clock | None = None) -> Probe:
    """Raises `MediaError` for no media, beyond a limit, or a video track without a frame."""
    clock = clock or Clock(limits.max_decode_seconds)
    with open_media(media, limits, clock) as opened:
        video, audio, names = opened.video, opened.audio, opened.video_stream_names
        width = height = rotation = audio_rate = audio_channels = 0
        fps, video_codec, audio_codec = 0.0, "", ""
        if video is not None:
            fps = float(nominal_fps(video) or 0)
            video_codec = video.codec_context.name
            _, _, frame = next(shown_frames(opened, 0.0))
            transposed = orientation(frame)[0]
            height, width = display_size(video, frame.height, frame.width, transposed)
            rotation = rotation_degrees(frame)
        if audio is not None:
            audio_codec = audio.codec_context.name
            audio_rate, audio_channels = (
                audio.codec_context.sample_rate,
                audio.codec_context.channels,
            )
        seconds = _duration(opened)
        if video is not None and not fps:
            fps = _counted_fps(opened, seconds)
        return Probe(
            duration_seconds=seconds,
            has_video=video is not None,
            has_audio=audio is not None,
            width=width,
            height=height,
            fps=fps,
            audio_rate=audio_rate,
            audio_channels=audio_channels,
            rotation=rotation,
            video_codec=video_codec,
            audio_codec=audio_codec,
            container=opened.format.split(",")[0],
            video_streams=tuple(name for name in names if _begins(media, limits, clock, name)),
        )


def _begins(media: bytes | str, limits: Limits, clock: Clock, stream: str) -> bool:
    try:
        with open_media(media, limits, clock, stream) as opened:
            next(shown_frames(opened, 0.0))
    except MediaError:
        return False
    return True


def _counted_fps(opened: OpenMedia, seconds: float) -> float:
    opened.rewind()
    assert opened.video is not None
    num_frames = sum(packet.size > 0 for packet in opened.packets(opened.video))
    return num_frames / seconds if seconds > 0 else 0.0


def _duration(opened: OpenMedia) -> float:
    promised = opened.promised_seconds(None)
    if promised is not None and opened.format not in COUNTED_FORMATS:
        return promised
    # No header says it (recordings of a browser), or only the bit rate does: the packets know.
    for index in range(len(opened.tracks)):
        opened.rewind()
        for _ in opened.packets(opened.tracks[index]):
            pass
    return opened.data_end_seconds
