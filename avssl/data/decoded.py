"""The pixels and samples of a record, such that a window of it is the same numbers whoever asks.

A cached record is decoded from end to end, an uncached one only around the window. Frames come out
the same either way. Sound does not by itself: a decoder and a resampler carry state (AAC even a
random generator for its noise bands), so a stream entered at another place gives other low bits.
Sound is therefore decoded in segments that begin at fixed times of the record, each by a fresh
decoder; but for files that were written here, whose sound is known to be free of that.
"""

import contextlib
import math
import zlib
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from avssl.data.handle import Handle
from avssl.data.kept import Arrays, Cache
from avssl.data.placement import Crop, sample_window
from avssl.data.views import AudioView, VideoView, View
from avssl.media.container import COUNTED_FORMATS
from avssl.media.decode import Frames, audio_window, frames_between, select_frames, video_window
from avssl.media.errors import MediaError, MissingTrackError

# Long segments decode more sound than a window needs, short ones start more decoders.
AUDIO_SEGMENT_SECONDS = 4
# Where every segment is found by counting packets from the start, so much sound is kept at most.
MAX_COUNTED_SECONDS = 300
# Frame rate and width over height for the first guess at what a decoded record takes; then the
# measured size counts.
GUESSED_FPS = 30
GUESSED_ASPECT = 16 / 9


def whole_frames(handle: Handle, view: VideoView) -> Frames:
    """All frames of a record at their native rate; times count from the start of the file."""
    end = handle.start_seconds + handle.duration_seconds
    opened = handle.opened_stream(view.stream)
    return frames_between(opened, handle.start_seconds, end, view.decode_size)


def wanted_times(handle: Handle, view: VideoView, start_seconds: float) -> np.ndarray:
    """When a view shows its frames, counted from the start of the file."""
    return handle.start_seconds + start_seconds + view.times


def window_frames(handle: Handle, view: VideoView, start_seconds: float) -> np.ndarray:
    """uint8 [n, height, width, 3]: `whole_frames` at the times of the view, without the others."""
    if view.seconds <= handle.duration_seconds:
        return video_window(
            handle.opened_stream(view.stream),
            handle.start_seconds + start_seconds,
            view.frames,
            view.fps,
            view.decode_size,
        )
    # Past the end of the record its last frame stays, even where the file goes on.
    frames = whole_frames(handle, view)
    return frames.pixels[select_frames(frames.times, wanted_times(handle, view, start_seconds))]


def samples_between(handle: Handle, first: int, last: int, rate: int, channels: int) -> np.ndarray:
    """Samples [first, last) of a record, int16 [last - first, channels], counted from its start."""
    # On the grid of samples: a start between two of them would be rounded up or down by the window.
    origin = round(handle.start_seconds * rate)
    if handle.opened.sound_is_memoryless:
        start, seconds = (origin + first) / rate, (last - first) / rate
        return audio_window(handle.opened, start, seconds, rate, channels)
    per_segment = AUDIO_SEGMENT_SECONDS * rate
    parts = []
    for number in range(first // per_segment, math.ceil(last / per_segment)):
        begin = number * per_segment
        start, seconds = (origin + begin) / rate, min(last - begin, per_segment) / rate
        segment = audio_window(handle.opened_for_sound(), start, seconds, rate, channels)
        parts.append(segment[max(0, first - begin) :])
    return np.concatenate(parts) if parts else np.zeros((0, channels), np.int16)


def padded_window(samples: np.ndarray, num_samples: int) -> np.ndarray:
    """Zeros past the end of the record."""
    missing = num_samples - len(samples)
    return np.pad(samples, ((0, missing), (0, 0))) if missing else samples


def crop_frames(
    pixels: np.ndarray, chosen: np.ndarray, crop: Crop, size: int, out: np.ndarray
) -> None:
    """Writes the same crop of each chosen frame, resized, into `out` [n, size, size, 3]."""
    rows = slice(crop.top, crop.top + crop.height)
    columns = slice(crop.left, crop.left + crop.width)
    for target, number in zip(out, chosen, strict=True):
        frame = Image.fromarray(pixels[number, rows, columns])
        if frame.size != (size, size):
            frame = frame.resize((size, size), Image.Resampling.BILINEAR)
        if crop.flip:
            # numpy takes half as long as the resizing to copy pixels backwards.
            frame = frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        target[:] = np.asarray(frame)


class Decoder:
    """What a view needs of a record, from the cache if it holds the record, else from the file."""

    def __init__(self, cache: Cache):
        self.cache = cache
        self._uncachable: set[tuple[int, str]] = set()

    def frames(
        self, handle: Handle, view: VideoView, start_seconds: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """(pixels [n, height, width, 3], the frames among them that the view shows)."""
        size = view.decode_size

        def decode(whole: Handle) -> Arrays | None:
            frames = whole_frames(whole, view)
            # A window would be scaled like its own first frame, and lack what its damage hides.
            irregular = whole.opened_stream(view.stream).is_irregular
            return None if irregular else (frames.pixels, frames.times)

        guess = GUESSED_FPS * size * size * GUESSED_ASPECT * 3
        # A digest, as anything may stand in a name, and this one becomes a folder's.
        stream = f"-{zlib.crc32(view.stream.encode()):08x}" if view.stream else ""
        kept = self._kept(handle, f"frames-{size}{stream}", 2, guess, decode)
        if kept is None:
            return window_frames(handle, view, start_seconds), np.arange(view.frames)
        pixels, times = kept
        return pixels, select_frames(times, wanted_times(handle, view, start_seconds))

    def audio(self, handle: Handle, view: AudioView, start_seconds: float) -> np.ndarray:
        """int16 [num_samples, channels]."""
        rate, channels = view.rate, view.channels
        end = round(handle.duration_seconds * rate)

        def decode(whole: Handle) -> Arrays | None:
            is_counted = whole.opened.format in COUNTED_FORMATS
            if is_counted and whole.duration_seconds > MAX_COUNTED_SECONDS:
                return None
            return (samples_between(whole, 0, end, rate, channels),)

        kept = self._kept(handle, f"audio-{rate}-{channels}", 1, 2.0 * rate * channels, decode)
        window = sample_window(view, start_seconds)
        last = min(window.stop, end)
        if kept is None:
            samples = samples_between(handle, window.start, last, rate, channels)
        else:
            samples = kept[0][window.start : last]
        return padded_window(samples, view.num_samples)

    def check(self, handle: Handle, views: Iterable[View]) -> None:
        """Decodes all that the views could ask for; raises MediaError where that fails."""
        for view in views:
            last = max(0.0, handle.duration_seconds - view.seconds)
            for start in np.arange(0.0, last + view.seconds, view.seconds).clip(max=last):
                handle.clock.restart()
                # A track that is not there is no damage: its view is blank.
                with contextlib.suppress(MissingTrackError):
                    if isinstance(view, VideoView) and handle.has["video"]:
                        window_frames(handle, view, start)
                    elif isinstance(view, AudioView) and handle.has["audio"]:
                        self.audio(handle, view, start)

    def _kept(
        self,
        handle: Handle,
        kind: str,
        num_arrays: int,
        guess_bytes_per_second: float,
        decode: Callable[[Handle], Arrays | None],
    ) -> Arrays | None:
        """The whole record, decoded and kept at first sight; None if it may not stay."""
        kept = self.cache.get(handle.index, kind, num_arrays)
        seconds = handle.duration_seconds
        if kept is not None or (handle.index, kind) in self._uncachable:
            return kept
        if not self.cache.has_room(kind, seconds, guess_bytes_per_second):
            return None
        try:
            with handle.again() as whole:
                arrays = decode(whole)
        except MediaError:
            # Damaged somewhere, perhaps not in this window, and only the window may decide: without
            # a cache nobody would have looked elsewhere.
            arrays = None
        if arrays is None:
            self._uncachable.add((handle.index, kind))
            return None
        self.cache.put(handle.index, kind, arrays, seconds)
        return arrays
