"""Windows of a file as arrays: uint8 frames and int16 samples, at the times that were asked for."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int16, UInt8

from avssl.media.channels import check_channels
from avssl.media.container import OpenMedia, open_media
from avssl.media.errors import MissingTrackError
from avssl.media.limits import DEFAULT_LIMITS, Limits
from avssl.media.sound import sample_blocks, to_int16
from avssl.media.video import DISPLAY_TOLERANCE_SECONDS, Scaler, shown_frames


@dataclasses.dataclass(frozen=True)
class Frames:
    """Frames and when each begins, in seconds from time zero."""

    pixels: UInt8[np.ndarray, "n height width 3"]
    times: Float[np.ndarray, "n"]


@dataclasses.dataclass(frozen=True)
class Clip:
    """What one window holds; None for a track that was not asked for or that the file lacks.

    `num_nonfinite_samples` counts NaN and infinity in the sound that was decoded: they are zeros
    here, as they are in all else that reads sound (`transcode` and the batches do not count them).
    """

    video: UInt8[np.ndarray, "n height width 3"] | None
    audio: Int16[np.ndarray, "samples channels"] | None
    num_nonfinite_samples: int


def decode_frames(
    media: bytes | str,
    *,
    start_seconds: float,
    end_seconds: float,
    short_side: int | None = None,
    stream: str = "",
    limits: Limits = DEFAULT_LIMITS,
) -> Frames:
    """The frames on display in [start, end), at their own rate; at least one.

    That is the last frame with time <= start up to the last with time < end. A track that starts
    later gives its first frame, one that has ended its last. Frames come upright, with square
    pixels, their short side exactly `short_side` (None: as large as they are). `stream` names a
    video track other than the default one.
    """
    with open_media(media, limits, stream=stream) as opened:
        return frames_between(opened, start_seconds, end_seconds, short_side)


def select_frames(
    times: Float[np.ndarray, "n"], wanted: Sequence[float] | Float[np.ndarray, "k"]
) -> Int[np.ndarray, "k"]:
    """The frame on display at each wanted time: the last that had begun, or else the first."""
    latest = np.asarray(wanted, np.float64) + DISPLAY_TOLERANCE_SECONDS
    return np.maximum(np.searchsorted(times, latest, side="right") - 1, 0)


def decode_video(
    media: bytes | str,
    *,
    start_seconds: float,
    num_frames: int,
    fps: float,
    short_side: int | None = None,
    stream: str = "",
    limits: Limits = DEFAULT_LIMITS,
) -> UInt8[np.ndarray, "num_frames height width 3"]:
    """What is on display at start + k / fps.

    The same pixels as `decode_frames` and `select_frames` give, without scaling frames that go
    unused.
    """
    with open_media(media, limits, stream=stream) as opened:
        return video_window(opened, start_seconds, num_frames, fps, short_side)


def decode_audio(
    media: bytes | str,
    *,
    start_seconds: float,
    seconds: float,
    rate: int,
    channels: int,
    limits: Limits = DEFAULT_LIMITS,
) -> Int16[np.ndarray, "samples channels"]:
    """round(seconds * rate) samples, from the one nearest to `start_seconds` on.

    Zeros where the track has not started or has ended. `channels`: 1 is the mean of the track's, 2
    stereo, 4 first-order ambisonics, which a track of four channels is taken to be, 8
    microphones (`channels.py`).
    """
    with open_media(media, limits) as opened:
        return audio_window(opened, start_seconds, seconds, rate, channels)


def decode_clip(
    media: bytes | str,
    *,
    start_seconds: float,
    num_frames: int,
    fps: float,
    short_side: int | None,
    audio_seconds: float,
    audio_rate: int,
    audio_channels: int,
    audio_start_seconds: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Clip:
    """`decode_video` and `decode_audio` of one window, opening the file once.

    `num_frames` or `audio_seconds` of 0 leaves that track out. The audio window starts with the
    video's unless `audio_start_seconds` says otherwise.
    """
    with open_media(media, limits) as opened:
        video = audio = None
        if num_frames and opened.video is not None:
            video = video_window(opened, start_seconds, num_frames, fps, short_side)
        if audio_seconds and opened.audio is not None:
            start = start_seconds if audio_start_seconds is None else audio_start_seconds
            audio = audio_window(opened, start, audio_seconds, audio_rate, audio_channels)
        return Clip(video, audio, opened.num_nonfinite_samples)


def _scaler(opened: OpenMedia, short_side: int | None) -> Scaler:
    if opened.video is None:
        raise MissingTrackError("has no video track")
    return Scaler(opened, short_side)


def frames_between(opened: OpenMedia, start: float, end: float, short_side: int | None) -> Frames:
    """`decode_frames` of an open file."""
    scale = _scaler(opened, short_side)
    pixels, times = [], []
    for time, until, frame in shown_frames(opened, start):
        pixels.append(scale(frame))
        times.append(time)
        if until >= end - DISPLAY_TOLERANCE_SECONDS:
            break
    return Frames(np.stack(pixels), np.array(times, np.float64))


def video_window(
    opened: OpenMedia, start: float, num_frames: int, fps: float, short_side: int | None
) -> np.ndarray:
    """`decode_video` of an open file."""
    scale = _scaler(opened, short_side)
    pixels: np.ndarray | None = None
    filled = 0
    wanted = start + np.arange(num_frames) / fps
    for _, until, frame in shown_frames(opened, start, wanted.tolist()):
        upto = int(np.searchsorted(wanted + DISPLAY_TOLERANCE_SECONDS, until, side="left"))
        if upto > filled:
            scaled = scale(frame)
            if pixels is None:
                pixels = np.empty((num_frames, *scaled.shape), np.uint8)
            pixels[filled:upto] = scaled
            filled = upto
        if filled == num_frames:
            break
    assert pixels is not None
    return pixels


def audio_window(
    opened: OpenMedia, start: float, seconds: float, rate: int, channels: int
) -> np.ndarray:
    """`decode_audio` of an open file. What a decoder remembers of earlier windows may be heard."""
    check_channels(channels)
    if opened.audio is None:
        raise MissingTrackError("has no audio track")
    samples = np.zeros((round(seconds * rate), channels), np.int16)
    filled = 0
    for block in sample_blocks(opened, round(start * rate), len(samples), rate, channels):
        samples[filled : filled + len(block)] = to_int16(block)
        filled += len(block)
    return samples
