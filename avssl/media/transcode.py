"""Any file, or a part of one, as a small one that is quick to seek in."""

import collections
import contextlib
import heapq
import itertools
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

import av
import numpy as np

from avssl.media.channels import CHANNELS
from avssl.media.container import PROMISE_SLACK_SECONDS, OpenMedia, open_media
from avssl.media.encode import ClipWriter
from avssl.media.errors import MediaError
from avssl.media.limits import DEFAULT_LIMITS, Limits
from avssl.media.sound import sample_blocks, to_int16
from avssl.media.video import (
    DEFAULT_FPS,
    DISPLAY_TOLERANCE_SECONDS,
    Scaler,
    nominal_fps,
    shown_frames,
)

# Common to MPEG: 24, 25, 30, 50 and 30000/1001 frames per second are whole numbers of ticks.
TICK = Fraction(1, 90_000)
# Formats whose header states the length of the file instead of guessing it.
STATED_LENGTH = ("mov", "matroska", "wav", "flac", "avi")
STATED_SLACK_FRACTION = 0.01


def transcode(
    media: bytes | str,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    short_side: int | None = 128,
    gop: int = 16,
    audio_rate: int = 24000,
    crf: int = 20,
    video_format: str = "h264",
    fps: Fraction | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """[start, end) of a file (None: to its end) in one of `VIDEO_FORMATS`, its time zero at `start_seconds`.

    Every frame keeps its own time, so variable rates stay variable, unless `fps` asks for what is on
    display that often; frames come upright with square pixels, the short side exactly `short_side`
    (None: as it is), sides rounded to even, in H.264 a keyframe every `gop`. Further video tracks are
    kept, each by its name, where they begin with a frame that can be decoded. Audio keeps 1, 2 or 4
    channels, other counts become stereo; it begins with silence where the track starts later. All of
    the window is decoded, so this is also the test of a file: damage and truncation raise `MediaError`.
    """
    # Opened once per track, so that all are read and written side by side.
    with contextlib.ExitStack() as stack:
        for_video, for_audio = (stack.enter_context(open_media(media, limits)) for _ in range(2))
        writer = ClipWriter(video_format)
        try:
            samples, pictures = iter(()), {}
            for name in ("", *for_video.video_stream_names) if for_video.video else ():
                opened = for_video
                try:
                    if name:
                        opened = stack.enter_context(open_media(media, limits, stream=name))
                    pictures[name] = _declare_video(
                        opened, writer, start_seconds, short_side, fps, gop, crf, name
                    )
                except MediaError:
                    # A further track without a frame takes nothing from the rest of the file.
                    if not name:
                        raise
            if for_audio.audio is not None:
                samples = _declare_audio(for_audio, writer, start_seconds, audio_rate)
            end = math.inf if end_seconds is None else end_seconds
            _write(writer, pictures, samples, start_seconds, end, audio_rate)
            if end_seconds is None:
                _check_length(for_video, for_audio)
            return writer.finish()
        finally:
            writer.close()


def check_whole(media: bytes | str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raises MediaError if the data end before the header says so; reads all and decodes nothing."""
    with open_media(media, limits) as for_video, open_media(media, limits) as for_audio:
        for opened, track in ((for_video, for_video.video), (for_audio, for_audio.audio)):
            if track is not None:
                collections.deque(opened.packets(track), maxlen=0)
        _check_length(for_video, for_audio)


def _declare_video(
    opened: OpenMedia,
    writer: ClipWriter,
    start: float,
    short_side: int | None,
    fps: Fraction | None,
    gop: int,
    crf: int,
    name: str,
) -> Iterator[tuple[float, float, np.ndarray]]:
    """(time, time of the next frame, pixels)"""
    assert opened.video is not None
    own_fps = nominal_fps(opened.video) or DEFAULT_FPS
    frames = shown_frames(opened, start)
    if fps is not None:
        frames = _at_rate(frames, fps, start, float(1 / own_fps))
    scale = Scaler(opened, short_side, even=True)
    scaled = ((time, until, scale(f)) for time, until, f in frames)
    first = next(scaled)
    height, width = first[2].shape[:2]
    writer.add_video(height, width, fps or own_fps, TICK, gop=gop, crf=crf, name=name)
    return itertools.chain([first], scaled)


def _at_rate(
    frames: Iterator[tuple[float, float, av.VideoFrame]],
    fps: Fraction,
    start: float,
    last_seconds: float,
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """What is on display at start + k / fps, the last frame for `last_seconds`."""
    number = 0
    for time, until, frame in frames:
        if until == math.inf:
            until = time + last_seconds
        # One at least: a track that starts late shows its first frame from the start on.
        while number == 0 or start + number / fps < until - DISPLAY_TOLERANCE_SECONDS:
            yield float(start + number / fps), float(start + (number + 1) / fps), frame
            number += 1


def _declare_audio(
    opened: OpenMedia, writer: ClipWriter, start: float, rate: int
) -> Iterator[np.ndarray]:
    """int16 [k, channels] blocks; none, and no track, where the sound ends before `start`."""
    assert opened.audio is not None
    channels = opened.audio.codec_context.channels
    if channels not in CHANNELS:
        channels = 2
    blocks = sample_blocks(opened, round(start * rate), None, rate, channels)
    first = next(blocks, None)
    if first is None:
        return iter(())
    writer.add_audio(rate, channels)
    promised = opened.promised_seconds(opened.audio)
    whole = itertools.chain([first], blocks)
    if promised is not None and promised > start:
        whole = _without_tail(whole, round((promised - start) * rate), rate)
    return (to_int16(block) for block in whole)


def _without_tail(
    blocks: Iterator[np.ndarray], num_promised: int, rate: int
) -> Iterator[np.ndarray]:
    """The samples that the header promises: a decoder fills up the last frame of the track.

    A track that goes on for longer than any frame is not cut: its header is wrong.
    """
    held: list[np.ndarray] = []
    num_samples, slack = 0, round(PROMISE_SLACK_SECONDS * rate)
    for block in blocks:
        due = min(len(block), max(0, num_promised - num_samples))
        num_samples += len(block)
        if due:
            yield block[:due]
        if due < len(block):
            held.append(block[due:])
        if num_samples > num_promised + slack:
            yield from held
            held = []


def _write(
    writer: ClipWriter,
    pictures: Mapping[str, Iterator[tuple[float, float, np.ndarray]]],
    samples: Iterator[np.ndarray],
    start: float,
    end: float,
    rate: int,
) -> None:
    missing = math.inf if end == math.inf else round((end - start) * rate)
    num_written = 0
    last, unfinished = dict.fromkeys(pictures, -1), set(pictures)

    def write_samples(until_seconds: float) -> None:
        nonlocal num_written
        while num_written < missing and num_written < until_seconds * rate:
            block = next(samples, None)
            if block is None:
                return
            block = block[: int(min(len(block), missing - num_written))]
            writer.write_samples(block)
            num_written += len(block)

    for name, time, until, pixels in _in_order(pictures):
        if name not in unfinished:
            continue
        # The first frame is on display from the start on, whenever it began.
        timestamp = round((time - start) / TICK) if last[name] >= 0 else 0
        if timestamp > last[name]:
            writer.write_frame(pixels, timestamp, name)
            last[name] = timestamp
        write_samples(time - start)
        if until >= end - DISPLAY_TOLERANCE_SECONDS:
            unfinished.remove(name)
            if not unfinished:
                break
    write_samples(math.inf)
    if not pictures and num_written == 0:
        raise MediaError("holds neither frames nor sound in the part that was asked for")


def _in_order(
    pictures: Mapping[str, Iterator[tuple[float, float, np.ndarray]]],
) -> Iterator[tuple[str, float, float, np.ndarray]]:
    """Frames of all tracks by their time: what lies side by side in a file is read quickly."""

    def named(name: str) -> Iterator[tuple[str, float, float, np.ndarray]]:
        return ((name, *frame) for frame in pictures[name])

    return heapq.merge(*map(named, pictures), key=lambda frame: frame[1])


def _check_length(for_video: OpenMedia, for_audio: OpenMedia) -> None:
    stated = for_video.promised_seconds(None) or 0.0
    if for_video.format == "avi" and for_video.video is not None and for_video.video.average_rate:
        stated = float(for_video.video.frames / for_video.video.average_rate)
    end = max(for_video.data_end_seconds, for_audio.data_end_seconds)
    # The length of a file is that of its longest track, which may be one of subtitles.
    comparable = for_video.format.startswith(STATED_LENGTH) and not for_video.has_other_tracks
    if comparable and end < stated - max(PROMISE_SLACK_SECONDS, STATED_SLACK_FRACTION * stated):
        raise MediaError(
            f"truncated: its header promises {stated:.2f} s, the data end at {end:.2f} s"
        )
