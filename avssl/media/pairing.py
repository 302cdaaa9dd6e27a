"""One file from two: data sets that keep pictures and sound apart (JPEG and WAV, video and m4a)."""

import io
import os
from collections.abc import Sequence
from fractions import Fraction

import av
import av.container
import numpy as np
from PIL import Image, UnidentifiedImageError

from avssl.media.channels import CHANNELS
from avssl.media.container import open_media
from avssl.media.encode import LAYOUTS
from avssl.media.errors import MediaError
from avssl.media.limits import DEFAULT_LIMITS, Limits
from avssl.media.sound import sample_blocks, to_int16

# First bytes of a picture, its FFmpeg decoder, and the pixels that the track declares.
PICTURES = (
    (b"\xff\xd8\xff", "mjpeg", "yuvj420p"),
    (b"\x89PNG\r\n\x1a\n", "png", "rgb24"),
)
MILLISECOND = Fraction(1, 1000)
BLOCK_SAMPLES = 1 << 14
# Eight microphones have no places; FFmpeg wants a name for eight channels.
NAMES = LAYOUTS | {8: "7.1"}


def paired(picture: bytes | str, *sounds: bytes | str, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A file with the picture track of one file and the sound of another, from time zero of both.

    The pictures are copied as they are coded, so no pixel changes; a JPEG or PNG becomes a track of one
    frame that stays on display. The sound is decoded to 16 bits at its own rate, with 1, 2 or 4
    channels, other counts mixed to stereo: copied, AAC would carry its priming into the other clock.
    Several sounds are the microphones of one recording, a channel each in their order, as long as the
    longest. MediaError where a file cannot be read.
    """
    buffer = io.BytesIO()
    head = _head(picture)
    kind = next(
        ((codec, pixels) for mark, codec, pixels in PICTURES if head.startswith(mark)), None
    )
    samples, rate = _samples(sounds, limits)
    # Matroska takes any video codec but no PNG, which QuickTime takes.
    container = "matroska" if kind is None else "mov"
    with av.open(buffer, "w", format=container, options={"fflags": "+bitexact"}) as file:
        track = file.add_stream("pcm_s16le", rate=rate, layout=NAMES[samples.shape[1]])
        assert isinstance(track, av.AudioStream)
        if kind is None:
            _copy_video(file, picture, limits)
        else:
            _add_still(file, _whole(picture, limits), *kind, len(samples) / rate, limits)
        _write_sound(file, track, samples, rate)
    return buffer.getvalue()


def _samples(sounds: Sequence[bytes | str], limits: Limits) -> tuple[np.ndarray, int]:
    """int16 [n, channels] and the rate."""
    parts, rates = zip(*(_decoded(sound, len(sounds) > 1, limits) for sound in sounds), strict=True)
    if len(set(rates)) > 1:
        raise MediaError(f"its sounds have different rates: {', '.join(map(str, rates))} Hz")
    if len(parts) == 1:
        return parts[0], rates[0]
    if len(parts) not in NAMES:
        raise MediaError(f"{len(parts)} sounds cannot be put together")
    samples = np.zeros((max(map(len, parts)), len(parts)), np.int16)
    for channel, part in enumerate(parts):
        samples[: len(part), channel] = part[:, 0]
    return samples, rates[0]


def _decoded(sound: bytes | str, to_mono: bool, limits: Limits) -> tuple[np.ndarray, int]:
    with open_media(sound, limits) as heard:
        if heard.audio is None:
            raise MediaError("the file of its sound has no audio track")
        rate, channels = heard.audio.codec_context.sample_rate, heard.audio.codec_context.channels
        channels = 1 if to_mono else channels if channels in CHANNELS else 2
        blocks = [to_int16(block) for block in sample_blocks(heard, 0, None, rate, channels)]
    return np.concatenate([np.zeros((0, channels), np.int16), *blocks]), rate


def _head(media: bytes | str) -> bytes:
    if isinstance(media, bytes):
        return media[:8]
    try:
        descriptor = os.open(media, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise MediaError(f"its picture cannot be opened ({error.strerror})") from error
    try:
        return os.read(descriptor, 8)
    except OSError as error:
        raise MediaError(f"its picture cannot be read ({error.strerror})") from error
    finally:
        os.close(descriptor)


def _whole(media: bytes | str, limits: Limits) -> bytes:
    if isinstance(media, bytes):
        return media
    if (size := os.stat(media).st_size) > limits.max_bytes:
        raise MediaError(f"its picture has {size} bytes, more than the limit of {limits.max_bytes}")
    with open(media, "rb") as file:
        return file.read()


def _add_still(
    file: av.container.OutputContainer,
    coded: bytes,
    codec: str,
    pixels: str,
    seconds: float,
    limits: Limits,
) -> None:
    try:
        # Opening reads the header alone.
        with Image.open(io.BytesIO(coded)) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise MediaError("its picture is damaged") from error
    if width * height > limits.max_pixels:
        raise MediaError(f"a picture of {width * height} pixels, more than {limits.max_pixels}")
    track = file.add_stream(codec, rate=1)
    assert isinstance(track, av.VideoStream)
    track.width, track.height, track.pix_fmt = width, height, pixels
    packet = av.Packet(coded)
    packet.stream, packet.time_base = track, MILLISECOND
    packet.pts = packet.dts = 0
    packet.duration = max(1, round(seconds / MILLISECOND))
    packet.is_keyframe = True
    file.mux(packet)


def _copy_video(file: av.container.OutputContainer, picture: bytes | str, limits: Limits) -> None:
    with open_media(picture, limits) as seen:
        if seen.video is None:
            raise MediaError("the file of its pictures has no video track")
        track = file.add_stream_from_template(seen.video)
        assert seen.video.time_base is not None
        origin = round(seen.origin / seen.video.time_base)
        for packet in seen.packets(seen.video):
            if packet.size == 0 or packet.dts is None:
                continue
            packet.dts -= origin
            packet.pts = None if packet.pts is None else packet.pts - origin
            packet.stream = track
            file.mux(packet)


def _write_sound(
    file: av.container.OutputContainer, track: av.AudioStream, samples: np.ndarray, rate: int
) -> None:
    # In blocks, so that the tracks lie side by side.
    for start in range(0, len(samples), BLOCK_SAMPLES):
        packed = np.ascontiguousarray(samples[start : start + BLOCK_SAMPLES]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "s16", track.codec_context.layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        file.mux(track.encode(frame))
    file.mux(track.encode(None))
