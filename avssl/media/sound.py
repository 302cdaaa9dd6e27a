"""Samples placed in time by the timestamps of the frames that carry them."""

import math
from collections.abc import Iterator

import av
import av.error
import numpy as np

from avssl.media.container import COUNTED_FORMATS, STREAMED_FORMATS, OpenMedia
from avssl.media.errors import MediaError
from avssl.media.resample import Resampler, source_range
from avssl.media.unpack import Unpacker

# Decoders need some packets before their output is right: MDCT overlap, bit reservoir, Opus's 80
# ms.
PREROLL_SECONDS = 0.25
SEEK_MARGINS_SECONDS = (PREROLL_SECONDS, 2.0, 16.0, math.inf)
# A timestamp this far from where the samples before it end starts anew: a gap, or a repeated part.
GAP_SECONDS = 0.01
# Where a run of frames begins is settled by so many timestamps, as some containers round them to
# milliseconds. Frames are also passed on in such groups, which is cheaper than one by one.
GROUP_FRAMES = 8
SILENCE_BLOCK = 1 << 16


def sample_blocks(
    media: OpenMedia, first: int, count: int | None, rate: int, channels: int
) -> Iterator[np.ndarray]:
    """float32 [k, channels] blocks: samples `first` to `first + count` at `rate`, 0 at time zero.

    Silence where the track has not started, has a gap or has ended; with `count` None until it
    ends.
    """
    assert media.audio is not None
    source_rate = media.audio.codec_context.sample_rate
    begin, matters, end, skip = source_range(first, count, source_rate, rate)
    resampler = Resampler(source_rate, rate, channels)

    def resampled() -> Iterator[np.ndarray]:
        for length in _chunks(matters - begin):
            yield from resampler.push(np.zeros((length, channels), np.float32))
        for block in _source_blocks(media, matters, end, channels):
            yield from resampler.push(block)
        yield from resampler.push(None)

    missing = math.inf if count is None else count
    for block in resampled():
        block, skip = block[skip:], max(0, skip - len(block))
        block = block[: int(min(missing, len(block)))]
        missing -= len(block)
        if len(block):
            yield block
        if missing == 0:
            return


def to_int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _chunks(length: int) -> Iterator[int]:
    while length > 0:
        yield min(length, SILENCE_BLOCK)
        length -= SILENCE_BLOCK


def _source_blocks(
    media: OpenMedia, begin: int, end: int | None, channels: int
) -> Iterator[np.ndarray]:
    """Samples `begin` to `end` at the track's own rate, without a gap."""
    assert media.audio is not None
    rate = media.audio.codec_context.sample_rate
    cursor = begin
    for position, samples in _placed(media, begin / rate, channels, end):
        if end is not None and position >= end:
            break
        if position > (media.limits.max_duration_seconds + 1) * rate:
            raise MediaError(f"its sound goes on at {position / rate:.0f} s")
        for length in _chunks(position - cursor):
            yield np.zeros((length, channels), np.float32)
            cursor += length
        part = samples[cursor - position : None if end is None else end - position]
        if len(part):
            yield part
            cursor += len(part)
        if cursor == end:
            return
    for length in _chunks(0 if end is None else end - cursor):
        yield np.zeros((length, channels), np.float32)


def _placed(
    media: OpenMedia, start_seconds: float, channels: int, end: int | None
) -> Iterator[tuple[int, np.ndarray]]:
    """(sample index, samples): frames that follow each other stay together despite rounding.

    At `end` they are not held back any longer: nobody waits for what comes after.
    """
    assert media.audio is not None
    assert media.audio.time_base is not None
    rate = media.audio.codec_context.sample_rate
    tolerance = max(float(media.audio.time_base), 1 / rate) / 2
    unpack = Unpacker(media, channels)
    run = _Run(rate, tolerance, unpack)
    for time, frame in _frames_from(media, start_seconds):
        if run.is_broken_by(time):
            yield from run.release()
            run = _Run(rate, tolerance, unpack)
        run.add(time, frame)
        if run.num_waiting >= GROUP_FRAMES or run.has_settled_and_reaches(end):
            yield from run.release()
    yield from run.release()


class _Run:
    """Frames without a gap between them. Each timestamp narrows down where the first one begins."""

    def __init__(self, rate: int, tolerance: float, unpack: Unpacker):
        self._rate = rate
        self._tolerance = tolerance
        self._unpack = unpack
        self._low, self._high = -math.inf, math.inf
        self._length = 0
        self._waiting: list[av.AudioFrame] = []
        self._num_samples_waiting = 0
        self._next: int | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def has_settled_and_reaches(self, end: int | None) -> bool:
        if self._next is None or end is None:
            return False
        return self._next + self._num_samples_waiting >= end

    @property
    def _start(self) -> float:
        return 0.0 if self._low == -math.inf else (self._low + self._high) / 2

    def is_broken_by(self, time: float | None) -> bool:
        if time is None or self._low == -math.inf:
            return False
        return abs(time - self._length / self._rate - self._start) > GAP_SECONDS

    def add(self, time: float | None, frame: av.AudioFrame) -> None:
        if time is not None and self._next is None:
            start = time - self._length / self._rate
            low = max(self._low, start - self._tolerance)
            high = min(self._high, start + self._tolerance)
            if low <= high:
                self._low, self._high = low, high
        self._waiting.append(frame)
        self._length += frame.samples
        self._num_samples_waiting += frame.samples

    def release(self) -> Iterator[tuple[int, np.ndarray]]:
        if self._next is None:
            self._next = round(self._start * self._rate)
        if self._waiting:
            samples = self._unpack(self._waiting)
            yield self._next, samples
            self._next += len(samples)
        self._waiting, self._num_samples_waiting = [], 0


def _frames_from(media: OpenMedia, start: float) -> Iterator[tuple[float | None, av.AudioFrame]]:
    """Decoded frames from a little before `start`."""
    assert media.audio is not None
    rate = media.audio.codec_context.sample_rate
    for margin in SEEK_MARGINS_SECONDS:
        at_the_start = start - margin <= 0 or media.format in COUNTED_FORMATS
        if at_the_start:
            media.rewind()
        assert media.audio is not None
        if not at_the_start and not media.seek(media.audio, start - margin):
            continue
        frames = _decoded(media, media.audio, start - PREROLL_SECONDS)
        first = next(frames, None)
        if at_the_start:
            if first is not None:
                yield first
                yield from frames
            return
        if first is None or (first[0] is not None and first[0] > start - PREROLL_SECONDS / 2):
            continue
        # Some decoders take the samples to skip at the start of a track from the first frame after
        # a seek as well, which blurs its time. Nobody misses it, unless it is a very long one.
        if first[0] is None or first[0] + first[1].samples / rate > start:
            yield first
        yield from frames
        return


def _decoded(
    media: OpenMedia, track: av.AudioStream, wanted_from: float
) -> Iterator[tuple[float | None, av.AudioFrame]]:
    rate = track.codec_context.sample_rate
    num_packets = num_damaged = 0
    for packet in media.packets(track):
        if media.format in COUNTED_FORMATS and packet.pts is not None:
            end = media.seconds(packet.pts + (packet.duration or 0), track)
            if end < wanted_from:
                continue
        num_packets += 1
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            num_damaged += 1
            tolerated = 4 + num_packets // 10 if media.format in STREAMED_FORMATS else 0
            if num_damaged > tolerated:
                raise MediaError(f"damaged audio data ({error.strerror})") from error
            continue
        for frame in frames:
            if frame.sample_rate != rate:
                raise MediaError(
                    f"its audio changes from {rate} Hz to {frame.sample_rate} Hz on the way"
                )
            time = None if frame.pts is None else media.seconds(frame.pts, track)
            yield time, frame
