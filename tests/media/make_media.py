"""Media files with known contents, good and bad, for the tests of every room.

A frame carries its number as black and white bars, readable after scaling and lossy coding; sound
carries clicks, found by correlation. Everything is made with PyAV from fixed seeds.
"""

import io
import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NUM_BITS = 8
CLICK_SECONDS = 0.004
# Fine enough for the frame rates of film and television and for milliseconds.
TICK = Fraction(1, 90_000)


def numbered_frames(numbers: Sequence[int], height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 [n, height, width, 3]: frame k shows numbers[k] (< 256) in bars, lowest bit left.

    The top quarter is red on the left and blue on the right, so that turned frames are recognised.
    """
    frames = np.zeros((len(numbers), height, width, 3), np.uint8)
    edges = np.linspace(0, width, NUM_BITS + 1).round().astype(int)
    for frame, number in zip(frames, numbers, strict=True):
        for bit in range(NUM_BITS):
            frame[:, edges[bit] : edges[bit + 1]] = 235 if number >> bit & 1 else 20
    frames[:, : height // 4, : width // 2] = (220, 30, 30)
    frames[:, : height // 4, width // 2 :] = (30, 30, 220)
    return frames


def frame_numbers(pixels: np.ndarray) -> list[int]:
    """What `numbered_frames` wrote, from upright frames [n, height, width, 3] of any size."""
    height, width = pixels.shape[1:3]
    grey = pixels[:, height // 2 :].mean(axis=(1, 3))
    edges = np.linspace(0, width, NUM_BITS + 1)
    numbers = np.zeros(len(pixels), int)
    for bit in range(NUM_BITS):
        low, high = edges[bit], edges[bit + 1]
        inner = slice(int(low + (high - low) * 0.25), max(int(high - (high - low) * 0.25), 1))
        numbers += (grey[:, inner].mean(axis=1) > 128).astype(int) << bit
    return numbers.tolist()


def click(rate: int) -> np.ndarray:
    """float64, one click whose middle sample is its time."""
    half = max(2, round(CLICK_SECONDS / 2 * rate))
    time = np.arange(-half, half + 1) / rate
    return np.cos(2 * np.pi * 1500 * time) * np.exp(-((time / (CLICK_SECONDS / 5)) ** 2))


def clicks(
    times: Sequence[float] | Sequence[Sequence[float]],
    seconds: float,
    rate: int,
    channels: int = 1,
    noise: float = 20.0,
) -> np.ndarray:
    """int16 [n, channels] with clicks at these times, or with those of times[c] in channel c."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, noise, (round(seconds * rate), channels))
    each = times if len(times) and not np.isscalar(times[0]) else [times] * channels
    shape = click(rate) * 20000
    half = len(shape) // 2
    for channel, channel_times in enumerate(each):
        for time in channel_times:
            middle = round(time * rate)
            samples[middle - half : middle + half + 1, channel] += shape
    return samples.round().clip(-32768, 32767).astype(np.int16)


def click_times(samples: np.ndarray, rate: int, threshold: float = 0.4) -> list[float]:
    """Seconds at which one channel [n] clicks, by correlation with the click."""
    shape = click(rate)
    match = np.correlate(samples.astype(np.float64), shape, "same") / (shape @ shape) / 20000
    found = []
    while match.max() > threshold:
        peak = int(match.argmax())
        found.append(peak / rate)
        match[max(0, peak - len(shape)) : peak + len(shape)] = 0
    return sorted(found)


def make_media(
    container: str = "mp4",
    *,
    frames: np.ndarray | None = None,
    fps: float = 25,
    frame_times: Sequence[float] | None = None,
    video_codec: str = "libx264",
    video_options: dict[str, str] | None = None,
    gop: int = 12,
    b_frames: int = 2,
    video_start_seconds: float = 0.0,
    rotation: int = 0,
    sample_aspect: Fraction | None = None,
    pixel_format: str = "yuv420p",
    audio: np.ndarray | None = None,
    audio_rate: int = 48000,
    audio_codec: str = "aac",
    audio_layout: str | None = None,
    audio_format: str = "s16",
    audio_start_seconds: float = 0.0,
    mux_options: dict[str, str] | None = None,
) -> bytes:
    """A file; `frame_times` make the rate variable, the `start_seconds` delay a track.

    `rotation` is in degrees clockwise, as a player must turn the frames.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=mux_options or {}) as file:
        video = sound = None
        if frames is not None:
            options = {"threads": "1", **(video_options or {})}
            if video_codec == "libx264":
                # Else damage at fixed places would meet other bytes on some runs: see `encode.py`.
                options.setdefault("x264-params", "mbtree=0")
            video = file.add_stream(
                video_codec, rate=Fraction(fps).limit_denominator(1001), options=options
            )
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = pixel_format
            context = video.codec_context
            context.gop_size, context.max_b_frames = gop, b_frames
            if video_codec != "libx264":
                context.bit_rate = 800_000
            if frame_times is not None or video_start_seconds:
                context.time_base = TICK
            if sample_aspect is not None:
                context.sample_aspect_ratio = sample_aspect
            if rotation:
                video.set_display_rotation(-rotation)
        if audio is not None:
            layout = audio_layout or {1: "mono", 2: "stereo", 4: "4.0"}[audio.shape[1]]
            sound = file.add_stream(audio_codec, rate=audio_rate, layout=layout)
            if audio_codec.startswith(("aac", "libopus", "mp3", "libmp3lame")):
                sound.codec_context.bit_rate = 96_000 * audio.shape[1]
        if video is not None:
            _write_video(file, video, frames, fps, frame_times, video_start_seconds)
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(audio).reshape(1, -1), audio_format, layout
            )
            frame.sample_rate, frame.time_base = audio_rate, Fraction(1, audio_rate)
            frame.pts = round(audio_start_seconds * audio_rate)
            file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
    return buffer.getvalue()


def _write_video(file, video, frames, fps, frame_times, start_seconds) -> None:
    fps = Fraction(fps).limit_denominator(1001)
    time_base = TICK if frame_times is not None or start_seconds else 1 / fps
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        time = index / fps if frame_times is None else frame_times[index]
        frame.pts, frame.time_base = round((time + Fraction(start_seconds)) / time_base), time_base
        file.mux(video.encode(frame))
    file.mux(video.encode(None))


def make_clip(num_frames: int = 50, *, fps: float = 25, **options) -> bytes:
    """A good ordinary file: numbered frames, and stereo clicks every half second."""
    seconds = num_frames / fps
    times = np.arange(0.25, seconds - 0.1, 0.5).tolist()
    options = {"audio": clicks(times, seconds, 48000, 2), **options}
    return make_media(frames=numbered_frames(range(num_frames)), fps=fps, **options)


def boxes(mp4: bytes) -> list[tuple[bytes, bytes]]:
    """(type, whole box) of each top-level box."""
    found, position = [], 0
    while position < len(mp4):
        size, kind = struct.unpack_from(">I4s", mp4, position)
        found.append((kind, mp4[position : position + size]))
        position += size
    return found


def index_first(mp4: bytes) -> bytes:
    """The same MP4 with its index before the data, as on the web: a cut one still opens."""
    parts = dict(boxes(mp4))
    index = bytearray(parts[b"moov"])
    shift, position = len(index), 0
    while (position := index.find(b"stco", position)) >= 0:
        (count,) = struct.unpack_from(">I", index, position + 8)
        for entry in range(position + 12, position + 12 + 4 * count, 4):
            struct.pack_into(">I", index, entry, struct.unpack_from(">I", index, entry)[0] + shift)
        position += 4
    rest = b"".join(box for kind, box in boxes(mp4) if kind not in (b"ftyp", b"moov"))
    return parts[b"ftyp"] + bytes(index) + rest


def with_duration(mp4: bytes, seconds: float) -> bytes:
    """The same MP4 whose header says that file and tracks last this long."""
    patched = bytearray(mp4)
    # Where each box keeps its 32-bit timescale and duration in version 0; tkhd and elst use mvhd's
    # scale.
    scale = struct.unpack_from(">I", mp4, mp4.find(b"mvhd") + 4 + 12)[0]
    struct.pack_into(">I", patched, mp4.find(b"mvhd") + 4 + 16, round(seconds * scale))
    for kind, offset in ((b"tkhd", 20), (b"elst", 8)):
        position = 0
        while (position := mp4.find(kind, position)) >= 0:
            struct.pack_into(">I", patched, position + 4 + offset, round(seconds * scale))
            position += 4
    position = 0
    while (position := mp4.find(b"mdhd", position)) >= 0:
        own = struct.unpack_from(">I", mp4, position + 4 + 12)[0]
        duration = min(round(seconds * own), 2**32 - 1)
        struct.pack_into(">I", patched, position + 4 + 16, duration)
        position += 4
    return bytes(patched)


def with_frame_size(mp4: bytes, height: int, width: int, codec: bytes = b"avc1") -> bytes:
    """The same MP4 whose header says that frames are this large; the frames themselves are not."""
    patched = bytearray(mp4)
    struct.pack_into(">HH", patched, mp4.find(codec, mp4.find(b"stsd")) + 28, width, height)
    position = mp4.find(b"tkhd")
    struct.pack_into(">II", patched, position + 4 + 76, width << 16, height << 16)
    return bytes(patched)


def flipped(data: bytes, share: float, seed: int = 0, first: int = 0) -> bytes:
    """Random bytes, this share of those from `first` on, are replaced."""
    rng = np.random.default_rng(seed)
    damaged = np.frombuffer(data, np.uint8).copy()
    where = rng.integers(first, len(data), max(1, round(share * (len(data) - first))))
    damaged[where] ^= rng.integers(1, 256, len(where)).astype(np.uint8)
    return damaged.tobytes()


def make_bad_files(folder: Path, secret: Path | None = None, seed: int = 0) -> dict[str, str]:
    """Writes files that must be refused, and a pipe; {name: what is wrong with it}.

    `secret` is a media file outside of `folder` that playlists and scripts among them name.
    """
    rng = np.random.default_rng(seed)
    good = make_clip()
    target = os.fspath(secret or "/etc/passwd")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"
    description = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    )
    contents = {
        "cut_in_data.mp4": (good[: len(good) // 2], "cut before its index"),
        "cut_after_index.mp4": (index_first(good)[: len(good) * 7 // 10], "index whole, data cut"),
        "cut.mkv": (make_clip(container="matroska")[:-9000], "cut"),
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"This is a letter, not a film.\n" * 50, "text"),
        "random.mp4": (rng.bytes(20_000), "noise"),
        "zeros.mp4": (bytes(20_000), "zeros"),
        "picture.mp4": (_png(), "a picture"),
        "damaged.mp4": (flipped(index_first(good), 0.05, seed, 8000), "bytes of the data changed"),
        "ten_hours.mp4": (with_duration(good, 36_000), "10 h header"),
        "eight_k.mp4": (with_frame_size(good, 4320, 7680), "8K header"),
        "script.mp4": (f"ffconcat version 1.0\nfile '{target}'\n".encode(), "concat script"),
        "playlist.m3u8": (playlist.encode(), "playlist"),
        "playlist.mp4": (playlist.encode(), "playlist"),
        "sdp.mp4": (description.encode(), "SDP"),
    }
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.mp4")
    return {name: what for name, (_, what) in contents.items()} | {"pipe.mp4": "named pipe"}


def _png() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frames([5])[0], "rgb24")))
        file.mux(stream.encode(None))
    return buffer.getvalue()
