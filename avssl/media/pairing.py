"""One file from two: data sets that keep pictures and sound apart (JPEG and WAV, video and m4a)."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

import av
import av.container
import av.error
import numpy as np

from avssl.media.channels import CHANNELS
from avssl.media.clock import Clock
from avssl.media.container import open_media
from avssl.media.depth import MARK, depth_as_png
from avssl.media.encode import LAYOUTS
from avssl.media.errors import MediaError
from avssl.media.limits import DEFAULT_LIMITS, Limits
from avssl.media.sound import sample_blocks, to_int16
from avssl.media.still import (
    BITEXACT,
    HEAD_BYTES,
    MILLISECOND,
    content,
    kind_of,
    still_packet,
)

BLOCK_SAMPLES = 1 << 14
# All of the sound is held decoded: 46 minutes of stereo at 48 kHz.
MAX_SOUND_BYTES = 512 << 20
# Microphones have no places as loudspeakers have: see `channels.mix`.
NAMES = LAYOUTS | {8: "8 channels"}


def paired(
    picture: bytes | str,
    *sounds: bytes | str,
    streams: Mapping[str, bytes | str] = MappingProxyType({}),
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """A file with the picture track of one file and the sound of another, from time zero of both.

    The pictures are copied as they are coded, so no pixel changes; a JPEG or PNG becomes a track of one
    frame that stays on display. The sound is decoded to 16 bits at its own rate, with 1, 2 or 4
    channels, other counts mixed to stereo: copied, AAC would carry its priming into the other clock.
    Several sounds are the microphones of one recording, a channel each in their order, as long as the
    longest. `streams` are further stills beside a still, as video tracks of these names: JPEG, PNG, or a PFM of
    distances (`depth.py`). All openings share the time that `limits` give. MediaError where a file cannot be
    read.
    """
    buffer, clock = io.BytesIO(), Clock(limits.max_decode_seconds)
    kind = kind_of(content(picture, limits, HEAD_BYTES))
    if kind is None and streams:
        raise MediaError("stills cannot be put beside a video")
    samples, rate = _samples(sounds, limits, clock)
    # Matroska takes any video codec but no PNG, which QuickTime takes.
    container = "matroska" if kind is None else "mov"
    try:
        with av.open(buffer, "w", format=container, options=BITEXACT) as file:
            track = file.add_stream("pcm_s16le", rate=rate, layout=NAMES[samples.shape[1]])
            assert isinstance(track, av.AudioStream)
            if kind is None:
                _copy_video(file, picture, limits, clock)
            else:
                stills = {name: _still(still, limits) for name, still in streams.items()}
                stills = {"": content(picture, limits), **stills}
                # All tracks are declared before the first packet.
                packets = [still_packet(file, *still, limits) for still in stills.items()]
                for packet in packets:
                    packet.duration = max(1, round(len(samples) / rate / MILLISECOND))
                    file.mux(packet)
            _write_sound(file, track, samples, rate)
    except (av.error.FFmpegError, ValueError) as error:
        # A side beyond what the container can state, a codec that it does not take.
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"its picture and sound cannot be put together ({reason})") from error
    return buffer.getvalue()


def _still(picture: bytes | str, limits: Limits) -> bytes:
    coded = content(picture, limits)
    return depth_as_png(coded, limits.max_pixels) if coded.startswith(MARK) else coded


def _samples(sounds: Sequence[bytes | str], limits: Limits, clock: Clock) -> tuple[np.ndarray, int]:
    """int16 [n, channels] and the rate."""
    parts, rates, room = [], [], MAX_SOUND_BYTES
    for sound in sounds:
        part, rate = _decoded(sound, len(sounds) > 1, room, limits, clock)
        parts.append(part)
        rates.append(rate)
        room -= part.nbytes
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


def _decoded(
    sound: bytes | str, to_mono: bool, room: int, limits: Limits, clock: Clock
) -> tuple[np.ndarray, int]:
    """int16 [n, channels] of at most `room` bytes, and the rate."""
    with open_media(sound, limits, clock) as heard:
        if heard.audio is None:
            raise MediaError("the file of its sound has no audio track")
        rate, channels = heard.audio.codec_context.sample_rate, heard.audio.codec_context.channels
        channels = 1 if to_mono else channels if channels in CHANNELS else 2
        blocks = [np.zeros((0, channels), np.int16)]
        for block in sample_blocks(heard, 0, None, rate, channels):
            blocks.append(to_int16(block))
            room -= blocks[-1].nbytes
            if room < 0:
                raise MediaError(
                    f"its sound takes more than {MAX_SOUND_BYTES >> 20} MiB; cut it, or join "
                    "picture and sound in one file"
                )
    return np.concatenate(blocks), rate


def _copy_video(
    file: av.container.OutputContainer, picture: bytes | str, limits: Limits, clock: Clock
) -> None:
    with open_media(picture, limits, clock) as seen:
        if seen.video is None:
            raise MediaError("the file of its pictures has no video track")
        if seen.format == "avi" and seen.video.codec_context.reorder_depth:
            # Their times would have to be made up, and a copy would keep them for good.
            raise MediaError("an AVI with B-frames says not when they are shown; write it as MP4")
        track = file.add_stream_from_template(seen.video)
        assert seen.video.time_base is not None
        origin = round(seen.origin / seen.video.time_base)
        for packet in seen.packets(seen.video):
            if packet.size == 0:
                continue
            # Matroska stores no dts, so that those of the first packets with B-frames are unknown.
            packet.dts = None if packet.dts is None else packet.dts - origin
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
