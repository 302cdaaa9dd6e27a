"""Pictures of distances (PFM) as pictures to look at (PNG)."""

import io
import math

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from avssl.media.errors import MediaError

MARK = b"Pf"
# "Pf", two numbers and a scale, with whatever lies between them.
HEADER_BYTES = 128


def depth_as_png(coded: bytes, max_pixels: int) -> bytes:
    """A grey PNG: black is 0, white the largest distance of the picture, in between by the logarithm.

    A PFM of one channel: a header of three words and then float32 rows from the lowest one up, little-endian
    if the scale is negative. Values that are not finite, or below 0, are 0. MediaError where it is none.
    """
    picture = Image.fromarray(as_levels(read_pfm(coded, max_pixels)))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def read_pfm(coded: bytes, max_pixels: int) -> Float[np.ndarray, "h w"]:
    words: list[bytes] = []
    place = 0
    while len(words) < 4:
        end = place
        while end < min(len(coded), HEADER_BYTES) and not coded[end : end + 1].isspace():
            end += 1
        if end >= min(len(coded), HEADER_BYTES):
            raise MediaError("its picture of distances has no whole header")
        if end > place:
            words.append(coded[place:end])
        place = end + 1
    try:
        width, height, scale = int(words[1]), int(words[2]), float(words[3])
    except ValueError as error:
        raise MediaError("its picture of distances has no sizes") from error
    if words[0] != MARK or width < 1 or height < 1 or not math.isfinite(scale):
        raise MediaError("its picture of distances is no PFM of one channel")
    if width * height > max_pixels:
        raise MediaError(f"a picture of {width * height} pixels, more than {max_pixels}")
    if len(coded) - place < 4 * width * height:
        raise MediaError("its picture of distances breaks off")
    order = "<f4" if scale < 0 else ">f4"
    values = np.frombuffer(coded, order, count=width * height, offset=place)
    return values.reshape(height, width)[::-1].astype(np.float32)


def as_levels(metres: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    known = np.where(np.isfinite(metres) & (metres > 0), metres, 0.0).astype(np.float64)
    levels = np.log1p(known)
    grey = np.round(255 * levels / max(levels.max(), 1e-12)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
