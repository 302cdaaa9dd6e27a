"""A picture as a video of one frame: JPEG and PNG, copied as they are coded, so that no pixel changes."""

import io
from fractions import Fraction

import av
import av.container
import av.error
from PIL import Image

from avssl.media.container import opened_file
from avssl.media.errors import MediaError
from avssl.media.limits import DEFAULT_LIMITS, Limits

# First bytes of a picture, its FFmpeg decoder, and the pixels that the track declares.
PICTURES = (
    (b"\xff\xd8\xff", "mjpeg", "yuvj420p"),
    (b"\x89PNG\r\n\x1a\n", "png", "rgb24"),
)
HEAD_BYTES = 8
MILLISECOND = Fraction(1, 1000)
# How long a picture without a sound is on display; what a view asks beyond that shows it as well.
STILL_SECONDS = 1.0
BITEXACT = {"fflags": "+bitexact"}


def as_video(picture: bytes | str, *, stream: str = "", limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A file whose only track is the picture, on display for `STILL_SECONDS`; `stream`: and one of this name.

    A view of several frames sees it in each of them. MediaError for anything that is no JPEG or PNG.
    """
    coded, buffer = content(picture, limits), io.BytesIO()
    try:
        # QuickTime takes PNG, which Matroska does not.
        with av.open(buffer, "w", format="mov", options=BITEXACT) as file:
            # All tracks are declared before the first packet.
            packets = [
                still_packet(file, name, coded, limits) for name in dict.fromkeys(("", stream))
            ]
            for packet in packets:
                packet.duration = round(STILL_SECONDS / MILLISECOND)
                file.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        # A side beyond what the container can state.
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"its picture cannot be shown ({reason})") from error
    return buffer.getvalue()


def kind_of(head: bytes) -> tuple[str, str] | None:
    """The decoder and the pixels of a still, by its first bytes."""
    return next(
        ((codec, pixels) for mark, codec, pixels in PICTURES if head.startswith(mark)), None
    )


def content(media: bytes | str, limits: Limits, num_bytes: int = -1) -> bytes:
    """The first bytes of the picture's file, or all of them."""
    try:
        with opened_file(media, limits) as file:
            return file.read(num_bytes)
    except MediaError as error:
        raise MediaError(f"its picture {error}") from error
    except OSError as error:
        raise MediaError(f"its picture cannot be read ({error.strerror})") from error


def still_packet(
    file: av.container.OutputContainer, name: str, coded: bytes, limits: Limits
) -> av.Packet:
    """The only packet of a still's track, which it declares."""
    kind = kind_of(coded)
    if kind is None:
        raise MediaError(
            f"its picture {name!r} is neither JPEG nor PNG nor PFM"
            if name
            else "its picture is neither JPEG nor PNG"
        )
    codec, pixels = kind
    try:
        # Opening reads the header alone, and whatever text comes before the pixels.
        with Image.open(io.BytesIO(coded), formats=("JPEG", "PNG")) as header:
            width, height = header.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError("its picture has far too many pixels") from error
    except (OSError, ValueError) as error:
        raise MediaError("its picture is damaged") from error
    if width * height > limits.max_pixels:
        raise MediaError(f"a picture of {width * height} pixels, more than {limits.max_pixels}")
    track = file.add_stream(codec, rate=1)
    assert isinstance(track, av.VideoStream)
    track.width, track.height, track.pix_fmt = width, height, pixels
    if name:
        track.metadata["handler_name"] = name
    packet = av.Packet(coded)
    packet.stream, packet.time_base = track, MILLISECOND
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return packet
