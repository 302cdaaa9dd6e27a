"""What the header of an MP4 claims, where FFmpeg believes the data instead and says nothing."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}
PARENTS = {b"moov", b"trak", b"mdia"}
STATING = {b"mvhd", b"mdhd", b"tkhd"}
# No camera writes more boxes than this around its headers.
MAX_BOXES = 10_000


def claims(file: BinaryIO) -> tuple[float, int]:
    """(longest duration in seconds, largest frame in pixels) that any header states, or 0."""
    seconds, pixels = 0.0, 0
    for kind, body in _headers(file):
        if kind == b"tkhd":
            pixels = max(pixels, _pixels(body))
        else:
            seconds = max(seconds, _seconds(body))
    return seconds, pixels


def _seconds(body: bytes) -> float:
    """mvhd and mdhd begin alike; version 1 has wider dates and durations."""
    layout, offset, unknown = (
        (">IQ", 20, 2**64 - 1) if body[:1] == b"\1" else (">II", 12, 2**32 - 1)
    )
    if len(body) < offset + struct.calcsize(layout):
        return 0.0
    scale, duration = struct.unpack_from(layout, body, offset)
    return 0.0 if not scale or duration == unknown else duration / scale


def _pixels(body: bytes) -> int:
    """Width and height in 16.16 fixed point end a tkhd."""
    offset = 88 if body[:1] == b"\1" else 76
    if len(body) < offset + 8:
        return 0
    width, height = struct.unpack_from(">II", body, offset)
    return (width >> 16) * (height >> 16)


def _headers(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(type, what follows it) of the boxes that state something; none for what is no MP4."""
    open_ends = [file.seek(0, 2)]
    position, seen_index = 0, False
    for num_boxes in range(MAX_BOXES):
        while open_ends and position >= open_ends[-1]:
            open_ends.pop()
        if not open_ends:
            return
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        if num_boxes == 0 and kind not in FIRST_BOXES:
            return
        length = 8
        if size == 1 and len(head) == 16:
            (size,), length = struct.unpack_from(">Q", head, 8), 16
        elif size == 0:
            size = open_ends[-1] - position
        if size < length:
            return
        if seen_index and len(open_ends) == 1:
            # A file has one index; fragments may follow it by the thousand, and state nothing.
            return
        seen_index |= kind == b"moov"
        if kind in PARENTS:
            open_ends.append(min(position + size, open_ends[-1]))
            position += length
            continue
        if kind in STATING:
            file.seek(position + length)
            yield kind, file.read(128)
        position += size
