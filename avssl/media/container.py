"""Opening a file that nobody vouches for.

FFmpeg by itself follows playlists, waits for network packets, opens pipes and allocates whatever a
header asks for. Everything that stops it is here: no other file of the project calls `av.open` to
read.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, TypeVar

import av
import av.container
import av.error
import av.stream

from avssl.media.clock import Clock
from avssl.media.errors import MediaError, MissingTrackError
from avssl.media.limits import Limits
from avssl.media.mp4_header import claims

# Formats that hold media themselves. Playlists, concat scripts, SDP, DASH and picture sequences,
# which make FFmpeg open other files or sockets, are not among them.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,wav,flac,mp3,aac,ogg,flv,asf"
# No index and no magic number: junk between packets is normal there, elsewhere it is damage.
STREAMED_FORMATS = {"mp3", "aac", "mpegts", "mpeg"}
# Seeking in these guesses the position from the bit rate, or gives wrong times; only counting
# packets from the start is exact.
COUNTED_FORMATS = {"mp3", "aac", "mpeg"}
# The comment in files written here. Their AAC has no noise bands, whose decoder would remember what
# it decoded before: any window of the sound is the same samples, wherever decoding began.
MEMORYLESS_SOUND = "avssl: sound without memory"
MAX_CHANNELS = 64
MAX_FURTHER_STREAMS = 8
AUDIO_RATES = (2_000, 768_000)
# A header may promise this much more than the file holds: the last packet's duration is often a
# guess.
PROMISE_SLACK_SECONDS = 0.25


Track = TypeVar("Track", av.VideoStream, av.AudioStream)


class OpenMedia:
    """An open file: its two tracks, its time zero, and the clock that stops it."""

    container: av.container.InputContainer
    video: av.VideoStream | None
    audio: av.AudioStream | None

    def __init__(self, file: BinaryIO, limits: Limits, clock: Clock, stream: str = ""):
        self.limits = limits
        self._stream = stream
        # NaN and infinity among the decoded samples; they became zeros.
        self.num_nonfinite_samples = 0
        # Frames changed their size, or damage was tolerated: what comes out of a window may depend
        # on where decoding began.
        self.is_irregular = False
        # Where the tracks that were read to their end did end.
        self.data_end_seconds = 0.0
        self._file = file
        self._clock = clock
        self._claimed_seconds, self._claimed_pixels = claims(file)
        self._open()

    def _open(self) -> None:
        self._file.seek(0)
        # `options` reaches the decoders that FFmpeg opens by itself to look at the streams, not
        # ours.
        self.container = av.open(
            self._file,
            "r",
            options={"max_pixels": str(self.limits.max_pixels)},
            # FFmpeg reads what was opened here, and has no protocol to open anything else with.
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "none"},
            metadata_errors="replace",
            buffer_size=1 << 17,
        )
        self._untouched, self._has_sought = True, False
        try:
            self.format = self.container.format.name
            self.video = _choose(self._video_streams())
            self.audio = _choose(tuple(filter(_is_determined, self.container.streams.audio)))
            self._check()
            self.origin = self._time_zero()
            self._origin_seconds = float(self.origin)
            self._tick_seconds = {t.index: float(t.time_base or 0) for t in self.tracks}
        except BaseException:
            self.container.close()
            raise
        for stream in self.container.streams:
            stream.discard = av.stream.Discard.all
        for stream in (self.video, self.audio):
            if stream is not None:
                stream.codec_context.thread_count = 1
                # Again, because a header may lie about the size of the frames.
                stream.codec_context.options = {"max_pixels": str(self.limits.max_pixels)}

    def close(self) -> None:
        self.container.close()

    def _check(self) -> None:
        limits = self.limits
        if self._stream and self.video is None:
            raise MissingTrackError(f"has no video stream '{self._stream}'")
        if self.video is None and self.audio is None:
            raise MediaError("holds neither video nor audio that can be decoded")
        seconds = max(self.promised_seconds(None) or 0.0, *map(self._track_seconds, self.tracks))
        seconds = max(seconds, self._claimed_seconds)
        if seconds > limits.max_duration_seconds:
            raise MediaError(
                f"lasts {seconds:.0f} s, more than the limit of {limits.max_duration_seconds:g} s"
            )
        if self.video is not None:
            width, height = self.video.codec_context.width, self.video.codec_context.height
            pixels = max(width * height, self._claimed_pixels)
            if pixels > limits.max_pixels:
                raise MediaError(
                    f"frames of {pixels} pixels, more than the limit of {limits.max_pixels}"
                )
        if self.audio is not None:
            rate, channels = self.audio.codec_context.sample_rate, self.audio.codec_context.channels
            if not AUDIO_RATES[0] <= rate <= AUDIO_RATES[1]:
                raise MediaError(f"audio at {rate} Hz is not plausible")
            if not 1 <= channels <= MAX_CHANNELS:
                raise MediaError(f"audio with {channels} channels is not supported")

    def _video_streams(self) -> tuple[av.VideoStream, ...]:
        streams = self.container.streams.video
        return tuple(s for s in streams if not self._stream or self._stream in names_of(s))

    @property
    def video_stream_names(self) -> tuple[str, ...]:
        """By which the video tracks beside the chosen one can be asked for; the first few of them."""
        # What names the default track, too, as "VideoHandler" does, tells nothing apart.
        taken = set() if self.video is None else {*names_of(self.video)}
        others = (s for s in self.container.streams.video if s is not self.video and is_usable(s))
        names = (name for s in others for name in names_of(s)[:1] if name not in taken)
        # The file is opened once for each.
        return tuple(dict.fromkeys(names))[:MAX_FURTHER_STREAMS]

    @property
    def tracks(self) -> list[av.VideoStream | av.AudioStream]:
        return [track for track in (self.video, self.audio) if track is not None]

    @property
    def sound_is_memoryless(self) -> bool:
        return self.container.metadata.get("comment") == MEMORYLESS_SOUND

    @property
    def has_other_tracks(self) -> bool:
        return len(self.container.streams) > len(self.tracks)

    @staticmethod
    def _track_seconds(track: av.VideoStream | av.AudioStream) -> float:
        if track.duration is None or track.time_base is None:
            return 0.0
        return float(track.duration * track.time_base)

    def promised_seconds(self, track: av.VideoStream | av.AudioStream | None) -> float | None:
        """When the header says that this track (None: the file) ends, if it says so."""
        if track is None:
            duration = self.container.duration
            return None if duration is None else duration / av.time_base
        if track.duration is None or track.time_base is None:
            return None
        return float(((track.start_time or 0) + track.duration) * track.time_base - self.origin)

    def _time_zero(self) -> Fraction:
        """The container's start, which FFmpeg rounds to microseconds and the tracks do not."""
        starts = [
            track.start_time * track.time_base
            for track in self.tracks
            if track.start_time is not None and track.time_base is not None
        ]
        if self.container.start_time is None:
            return min(starts, default=Fraction(0))
        rounded = Fraction(self.container.start_time, av.time_base)
        return next((s for s in starts if abs(s - rounded) <= Fraction(1, av.time_base)), rounded)

    def seconds(self, timestamp: int, track: av.stream.Stream) -> float:
        """A timestamp of this track as seconds after time zero."""
        # In floating point: this runs for every packet, and fractions take longer than audio to
        # decode.
        return timestamp * self._tick_seconds[track.index] - self._origin_seconds

    def rewind(self) -> None:
        """Back to the first packet, by opening again: a seek to it is not exact in every format."""
        if not self._untouched:
            self.container.close()
            self._open()

    def seek(self, track: av.VideoStream | av.AudioStream, seconds: float) -> bool:
        """To a keyframe of the track at or before `seconds`, as far as the index can be trusted."""
        assert track.time_base is not None
        offset = (Fraction(seconds) + self.origin) / track.time_base
        self._untouched, self._has_sought = False, True
        try:
            self.container.seek(offset.numerator // offset.denominator, stream=track)
        except av.error.FFmpegError:
            return False
        return True

    def check_clock(self) -> None:
        self._clock.check()

    def packets(self, track: av.VideoStream | av.AudioStream) -> Iterator[av.Packet]:
        """The track's packets from here on, the last one empty, to flush the decoder."""
        self._untouched = False
        other = self.audio if track is self.video else self.video
        track.discard = av.stream.Discard.default
        if other is not None:
            other.discard = av.stream.Discard.all
        # A seek beyond the end leads to no packet at all, which says nothing about the file.
        end = None if self._has_sought else 0
        for packet in self._demuxed(track):
            self.check_clock()
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None:
                end = max(end or 0, stamp + (packet.duration or 0))
            elif packet.size == 0 and end is not None:
                self._check_promise(track, self.seconds(end, track))
                self.data_end_seconds = max(self.seconds(end, track), self.data_end_seconds)
            yield packet

    def _demuxed(self, track: av.VideoStream | av.AudioStream) -> Iterator[av.Packet]:
        try:
            yield from self.container.demux(track)
        except IndexError as error:
            # FFmpeg adds a track where damaged data speak of one; PyAV knows those of the start.
            raise MediaError("damaged: its data speak of a track that it does not have") from error

    def _check_promise(self, track: av.VideoStream | av.AudioStream, end: float) -> None:
        """Only these formats state the length of each track; others repeat the file's or guess."""
        promised = self.promised_seconds(track)
        if promised is None or not self.format.startswith(("mov", "wav")):
            return
        if end < promised - PROMISE_SLACK_SECONDS:
            raise MediaError(
                f"truncated: its header promises {promised:.2f} s of {track.type}, "
                f"the data end at {end:.2f} s"
            )


def names_of(stream: av.stream.Stream) -> list[str]:
    """What a track calls itself: Matroska has titles, MP4 names of handlers."""
    named = (stream.metadata.get(key, "") for key in ("title", "handler_name"))
    return [name for name in named if name]


def _choose(streams: tuple[Track, ...]) -> Track | None:
    """The default track among those that can be decoded."""
    usable = [s for s in streams if is_usable(s)]
    default = [s for s in usable if s.disposition & av.stream.Disposition.default]
    return next(iter(default or usable), None)


def is_usable(stream: av.VideoStream | av.AudioStream) -> bool:
    """Whether it can be decoded; cover pictures are no video."""
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return stream.codec_context is not None and not stream.disposition & pictures


def _is_determined(track: av.AudioStream) -> bool:
    """False for a track that is declared but whose data never came or could not be made out."""
    context = track.codec_context
    return context is not None and context.sample_rate != 0 and context.channels != 0


@contextlib.contextmanager
def opened_file(media: bytes | str, limits: Limits) -> Iterator[BinaryIO]:
    """Opened here and not by FFmpeg, which would read protocols and formats out of a name."""
    if isinstance(media, bytes):
        size, file = len(media), io.BytesIO(media)
    else:
        try:
            # Non-blocking, since opening a named pipe waits for a writer, where no time limit
            # reaches.
            descriptor = os.open(media, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise MediaError(f"cannot be opened ({reason})") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise MediaError("is not a regular file")
        # By its descriptor, so that it has no name: FFmpeg would guess the format from the
        # extension.
        size, file = status.st_size, open(descriptor, "rb", buffering=0)  # noqa: SIM115 - below
    with file:
        if size == 0:
            raise MediaError("is empty")
        if size > limits.max_bytes:
            raise MediaError(f"has {size} bytes, more than the limit of {limits.max_bytes}")
        yield file


@contextlib.contextmanager
def open_media(
    media: bytes | str, limits: Limits, clock: Clock | None = None, stream: str = ""
) -> Iterator[OpenMedia]:
    """The bytes of a file, or the path of one. FFmpeg's errors inside become `MediaError`.

    `clock`: one that runs already, where several openings are to share their time. `stream`: the
    name of the video track to read instead of the default one.
    """
    with opened_file(media, limits) as file:
        try:
            clock = clock or Clock(limits.max_decode_seconds)
            opened = OpenMedia(file, limits, clock, stream)
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise MediaError(f"is not media that can be read ({reason})") from error
        try:
            yield opened
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise MediaError(f"cannot be decoded ({reason})") from error
        finally:
            opened.close()
