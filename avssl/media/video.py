"""Frames in the order of display, each with its time, from any point of a file."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import cast

import av
import av.error
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter

from avssl.media.container import COUNTED_FORMATS, STREAMED_FORMATS, OpenMedia
from avssl.media.errors import MediaError
from avssl.media.skipping import with_use

# Some containers round timestamps to milliseconds: a frame counts as on display this much early.
DISPLAY_TOLERANCE_SECONDS = 1e-3
# How far before the wanted time to seek; further where the file's index led past it, then the
# start.
SEEK_MARGINS_SECONDS = (0.0, 2.0, 16.0, math.inf)
# The pixel must not depend on which vector instructions the machine has.
INTERPOLATION = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)
# Frames that keep their size take a path in FFmpeg that is ten times as fast, unless accuracy is
# asked for. It has the same arithmetic on all x86 machines of the last fifteen years.
UNSCALED = Interpolation.BICUBIC | Interpolation.BITEXACT
# A frame that stays for longer, or goes back in time, is hardly what was recorded.
MAX_STILL_SECONDS = 60.0
MAX_PIXEL_ASPECT = 4.0
MAX_FPS = 1000
DEFAULT_FPS = Fraction(25)


def shown_frames(
    media: OpenMedia, start_seconds: float, wanted: Sequence[float] | None = None
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(time, time of the next frame, frame), from the frame on display at `start_seconds`.

    The first is the last frame with time <= start, or the first of all if the track starts later;
    the last frame stays on display for ever. At least one frame comes, or a `MediaError`. With
    `wanted` (rising, from start on), frames on display at none of these times may be missing.
    """
    pending = None
    limits = [time + DISPLAY_TOLERANCE_SECONDS for time in wanted or [start_seconds]]
    for time, frame in _frames_from(media, start_seconds, limits):
        if pending is not None and time > start_seconds + DISPLAY_TOLERANCE_SECONDS:
            yield pending[0], time, pending[1]
        pending = time, frame
    if pending is None:
        raise MediaError("its video track holds no frame that can be decoded")
    yield pending[0], math.inf, pending[1]


def _frames_from(
    media: OpenMedia, start: float, wanted: list[float]
) -> Iterator[tuple[float, av.VideoFrame]]:
    for margin in SEEK_MARGINS_SECONDS:
        at_the_start = start - margin <= 0 or media.format in COUNTED_FORMATS
        if at_the_start:
            media.rewind()
        assert media.video is not None
        if not at_the_start and not media.seek(media.video, start - margin):
            continue
        frames = _decoded(media, media.video, wanted)
        first = next(frames, None)
        if at_the_start or (first is not None and first[0] <= start + DISPLAY_TOLERANCE_SECONDS):
            if first is not None:
                yield first
                yield from frames
            return


def _decoded(
    media: OpenMedia, track: av.VideoStream, wanted: list[float]
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames from the next keyframe on, each later than the one before."""
    clock = _Clock(media, track)
    last, num_packets, num_damaged = -math.inf, 0, 0
    # The longer the reach the more frames are found to be of no use, and the more packets are read.
    reach = 2 * track.codec_context.reorder_depth + 1
    seconds = functools.partial(media.seconds, track=track)
    frames_stand_alone = track.codec_context.codec.intra_only
    skips = None  # an earlier window may have left the decoder either way
    for packet, used in with_use(media.packets(track), seconds, wanted, reach):
        if not clock.is_running and packet.size and not packet.is_keyframe:
            continue
        clock.see(packet)
        num_packets += 1
        # The first frame says whether the seek went far enough.
        skippable = not used and last > -math.inf and not clock.counts_packets
        if skippable and frames_stand_alone:
            continue
        if skippable != skips:
            skips = skippable
            track.codec_context.skip_frame = "NONREF" if skips else "DEFAULT"
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            num_damaged += 1
            tolerated = 4 + num_packets // 10 if media.format in STREAMED_FORMATS else 0
            if num_damaged > tolerated:
                raise MediaError(_damage(media, error, last)) from error
            media.is_irregular = True
            continue
        for frame in frames:
            media.is_irregular |= frame.is_corrupt
            time = clock.time(frame, last)
            # Frames before the keyframe that was sought refer to others that were not decoded.
            if time < clock.start:
                continue
            # Damaged timestamps also mislead the choice of packets that need no decoding.
            before = wanted[0] if last == -math.inf else last
            media.is_irregular |= not last < time < max(before, 0.0) + MAX_STILL_SECONDS
            if time > last:
                last = time
                yield time, frame


class _Clock:
    """When each frame that leaves the decoder is shown.

    AVI stores no presentation times, and FFmpeg's guesses are wrong for H.264 with B-frames. Its
    frames leave the decoder in order, though: each is shown when the packet that pushed it out was
    to be decoded, less the decoder's delay.
    """

    def __init__(self, media: OpenMedia, track: av.VideoStream):
        self._media, self._track = media, track
        self.counts_packets = media.format == "avi"
        self._delay = track.codec_context.reorder_depth if self.counts_packets else 0
        self._period = 1 / float(nominal_fps(track) or DEFAULT_FPS)
        self._pushed = 0
        self._is_flushing = False
        self.is_running = False
        # The time of the keyframe that was sought.
        self.start = -math.inf

    def see(self, packet: av.Packet) -> None:
        self._is_flushing = packet.size == 0
        if packet.dts is not None:
            self._pushed = packet.dts
        if not self.is_running and packet.pts is not None and not self.counts_packets:
            self.start = self._media.seconds(packet.pts, self._track)
        self.is_running = True

    def time(self, frame: av.VideoFrame, last: float) -> float:
        if self.counts_packets:
            self._pushed += self._is_flushing
            return self._media.seconds(self._pushed - self._delay, self._track)
        stamp = frame.dts if frame.pts is None else frame.pts
        if stamp is not None:
            return self._media.seconds(stamp, self._track)
        return last + self._period if last > -math.inf else max(self.start, 0.0)


def _damage(media: OpenMedia, error: av.error.FFmpegError, last: float) -> str:
    where = f" near {last:.2f} s" if last > -math.inf else ""
    if isinstance(error, av.error.ArgumentError):
        return (
            f"frames of an impossible size{where}, or of more pixels than the limit of "
            f"{media.limits.max_pixels}"
        )
    return f"damaged video data{where} ({error.strerror})"


def nominal_fps(track: av.VideoStream) -> Fraction | None:
    """The mean rate that the file states or its first packets suggest, unless it is absurd."""
    rates = (track.average_rate, track.guessed_rate, track.base_rate)
    return next((rate for rate in rates if rate and 0 < rate <= MAX_FPS), None)


class Scaler:
    """Turns frames upright and to one size: that of the first, its short side made `short_side`."""

    def __init__(self, media: OpenMedia, short_side: int | None, *, even: bool = False):
        self._media = media
        self._short_side = short_side
        self._even = even
        self._size: tuple[int, int] | None = None
        self._source: tuple[int, int, bool] | None = None
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 [height, width, 3]"""
        transposed, flip_rows, flip_columns = orientation(frame)
        source = frame.height, frame.width, transposed
        if self._size is None:
            self._size, self._source = self._plan(frame, transposed), source
        self._media.is_irregular |= source != self._source
        height, width = self._size
        if transposed:
            height, width = width, height
        interpolation = UNSCALED if frame.height == height else INTERPOLATION
        pixels = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=interpolation, threads=1
        ).to_ndarray()
        if transposed:
            pixels = pixels.transpose(1, 0, 2)
        if flip_rows:
            pixels = pixels[::-1]
        if flip_columns:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels)

    def _plan(self, frame: av.VideoFrame, transposed: bool) -> tuple[int, int]:
        assert self._media.video is not None
        height, width = display_size(self._media.video, frame.height, frame.width, transposed)
        scale = 1.0 if self._short_side is None else self._short_side / min(height, width)
        step = 2 if self._even else 1
        height = max(1, round(height * scale / step)) * step
        width = max(1, round(width * scale / step)) * step
        limit = self._media.limits.max_pixels
        if height * width > limit:
            raise MediaError(
                f"frames of {width}x{height} after scaling exceed the limit of {limit} pixels"
            )
        return height, width


def display_size(
    track: av.VideoStream, height: int, width: int, transposed: bool
) -> tuple[int, int]:
    """(height, width) of upright frames with square pixels."""
    aspect = float(track.sample_aspect_ratio or 1)
    # Beyond this it is no camera's but a header's that would stretch a frame to gigabytes.
    if 1 < aspect <= MAX_PIXEL_ASPECT:
        width = round(width * aspect)
    elif 1 / MAX_PIXEL_ASPECT <= aspect < 1:
        height = round(height / aspect)
    return (width, height) if transposed else (height, width)


def orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then flip rows, then flip columns): what the display matrix asks for."""
    data = cast(Mapping[Type, Buffer], frame.side_data).get(Type.DISPLAYMATRIX)
    if data is None:
        return False, False, False
    # 16.16 fixed point, x' = a x + c y, y' = b x + d y, with y pointing down.
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def rotation_degrees(frame: av.VideoFrame) -> int:
    """Clockwise quarter turns that bring the frame upright, in degrees: 0, 90, 180 or 270."""
    return round(-frame.rotation / 90) % 4 * 90
