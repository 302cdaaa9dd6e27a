"""Arrays as files, H.264 and AAC in MP4 by default; the same bytes from the same arrays on every call."""

import io
import os
from collections.abc import Mapping
from fractions import Fraction

import av
import av.codec.context
import numpy as np
from av.video.reformatter import Colorspace
from jaxtyping import Int16, UInt8

from avssl.errors import UsageError
from avssl.media.container import MEMORYLESS_SOUND
from avssl.media.formats import VIDEO_FORMATS
from avssl.media.video import INTERPOLATION

AAC_RATES = (
    7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000,
)  # fmt: skip
LAYOUTS = {1: "mono", 2: "stereo", 4: "4.0"}
# 48 kbit/s a channel at 24 kHz.
BITS_PER_SAMPLE = 2


class ClipWriter:
    """A file in the making. Tracks are declared first; frames and samples come in order of time."""

    def __init__(self, video_format: str = "h264") -> None:
        self._format = VIDEO_FORMATS[video_format]
        self._buffer = io.BytesIO()
        # Neither dates nor library versions in the file.
        self._container = av.open(
            self._buffer, "w", format=self._format.container, options={"fflags": "+bitexact"}
        )
        self._videos: dict[str, tuple[av.VideoStream, Fraction]] = {}
        self._audio: av.AudioStream | None = None
        self._num_samples = 0

    def add_video(
        self,
        height: int,
        width: int,
        fps: Fraction,
        time_base: Fraction,
        *,
        gop: int,
        crf: int,
        name: str = "",
    ) -> None:
        """The first video track is the default one; others are found by their name.

        `gop` and `crf` are for H.264; other formats have neither.
        """
        if height % 2 or width % 2:
            raise UsageError(f"frames of {height}x{width}: H.264 needs even sides")
        # Two threads give other bytes, and other pixels.
        options = {**self._format.options, "threads": "1"}
        if self._format.codec == "libx264":
            options["crf"] = str(crf)
            # A keyframe every `gop` frames and nowhere else, nothing that refers across it, and
            # frames leave the decoder as they enter: B-frames save no bytes at this preset.
            # mbtree reads memory that nobody wrote where rows are short: other bytes on every run.
            options["x264-params"] = (
                f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=0:mbtree=0"
            )
        stream = self._container.add_stream(self._format.codec, rate=fps, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = self._format.pixel_format
        context = stream.codec_context
        context.time_base = time_base
        context.gop_size = gop
        context.thread_count = 1
        context.flags |= av.codec.context.Flags.bitexact.value
        context.colorspace = Colorspace.ITU601.value
        context.color_range = self._format.color_range.value
        if name:
            stream.metadata["handler_name"] = name
        self._videos[name] = stream, time_base

    def add_audio(self, rate: int, channels: int) -> None:
        if rate not in AAC_RATES:
            raise UsageError(f"AAC cannot hold {rate} Hz; choose one of {AAC_RATES}")
        if channels not in LAYOUTS:
            raise UsageError(f"audio can be written with 1, 2 or 4 channels, not {channels}")
        self._container.metadata["comment"] = MEMORYLESS_SOUND
        options = {**self._format.audio_options, "threads": "1"}
        stream = self._container.add_stream(
            self._format.audio_codec, rate=rate, layout=LAYOUTS[channels], options=options
        )
        assert isinstance(stream, av.AudioStream)
        context = stream.codec_context
        context.bit_rate = BITS_PER_SAMPLE * rate * channels
        context.thread_count = 1
        context.flags |= av.codec.context.Flags.bitexact.value
        self._audio = stream

    def write_frame(self, pixels: np.ndarray, timestamp: int, name: str = "") -> None:
        """uint8 [height, width, 3] at `timestamp` * time_base."""
        stream, time_base = self._videos[name]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
            format=self._format.pixel_format, dst_colorspace=Colorspace.ITU601,
            dst_color_range=self._format.color_range, interpolation=INTERPOLATION, threads=1,
        )  # fmt: skip
        frame.pts, frame.time_base = timestamp, time_base
        self._container.mux(stream.encode(frame))

    def write_samples(self, samples: np.ndarray) -> None:
        """int16 [n, channels], following what was written before."""
        assert self._audio is not None
        packed = np.ascontiguousarray(samples, np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "s16", self._audio.codec_context.layout)
        rate = self._audio.codec_context.sample_rate
        frame.sample_rate, frame.pts, frame.time_base = rate, self._num_samples, Fraction(1, rate)
        self._num_samples += len(samples)
        self._container.mux(self._audio.encode(frame))

    def finish(self) -> bytes:
        for stream, _ in self._videos.values():
            self._container.mux(stream.encode(None))
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()
        return self._buffer.getvalue()

    def close(self) -> None:
        self._container.close()


def encode_clip(
    frames: UInt8[np.ndarray, "n height width 3"] | None,
    fps: float | Fraction,
    audio: Int16[np.ndarray, "samples channels"] | None,
    audio_rate: int,
    *,
    gop: int = 16,
    crf: int = 23,
    video_format: str = "h264",
    path: str | os.PathLike | None = None,
    streams: Mapping[str, UInt8[np.ndarray, "n height width 3"]] | None = None,
) -> bytes:
    """A file of frames and sound, or of one of them, in one of `VIDEO_FORMATS`.

    `streams` are further video tracks by name, frame for frame beside `frames`.

    Both begin at time 0: the encoder's priming is hidden by an edit list, which `decode_audio`
    honours. One, two or four channels (ambisonics); with `path` the bytes are written there too.
    """
    if frames is not None and len(frames) == 0:
        frames = None
    if audio is not None and len(audio) == 0:
        audio = None
    if frames is None and audio is None:
        raise UsageError("a clip needs frames or sound")
    tracks = {} if frames is None else {"": frames, **(streams or {})}
    if any(len(track) != len(tracks[""]) for track in tracks.values()):
        raise UsageError(f"video tracks of one clip have {[*map(len, tracks.values())]} frames")
    writer = ClipWriter(video_format)
    try:
        rate = Fraction(fps).limit_denominator(1001)
        for name, track in tracks.items():
            height, width = track.shape[1:3]
            writer.add_video(height, width, rate, 1 / rate, gop=gop, crf=crf, name=name)
        if audio is not None:
            writer.add_audio(audio_rate, audio.shape[1])
        for timestamp in range(len(tracks.get("", ()))):
            for name, track in tracks.items():
                writer.write_frame(track[timestamp], timestamp, name)
        if audio is not None:
            writer.write_samples(audio)
        encoded = writer.finish()
    finally:
        writer.close()
    if path is not None:
        with open(path, "wb") as file:
            file.write(encoded)
    return encoded
