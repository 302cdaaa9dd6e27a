"""Files that a source names: paths on this machine stay paths, those in a bucket are fetched."""

import contextlib
import hashlib
import os
from collections.abc import Iterable

from etils import epath

from avssl.data.keys import printable
from avssl.errors import UsageError
from avssl.media.errors import MediaError
from avssl.media.limits import Limits

HEAD_BYTES = 256
# Nothing is there. Any other error of a folder does not say what is in it.
ABSENT = (FileNotFoundError, NotADirectoryError)
# Where containers say what they are: (offset, bytes).
_SIGNATURES = (
    *((4, box) for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, b"RIFF"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"FLV\x01"),
    (0, b"0&\xb2u"),  # ASF
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream
    (0, b"\x00\x00\x01\xb3"),
)


def is_remote(path: str) -> bool:
    return "://" in path


def join(root: str, relative: str) -> str:
    return f"{root.rstrip('/')}/{relative}"


def unlisted(path: str, error: OSError) -> UsageError:
    """The error for a folder that is there: without it whole classes would be missing."""
    return UsageError(
        f"'{printable(path)}' cannot be listed ({error.strerror or type(error).__name__}): "
        "make it readable, or move it out of the data set"
    )


def media_at(root: str, relative: str) -> bytes | str:
    """What a record's `media` holds: an absolute path here, the bytes of a file elsewhere."""
    path = join(root, relative)
    if not is_remote(root):
        return path
    file = epath.Path(path)
    try:
        size = file.stat().length
        if size > Limits().max_bytes:
            raise MediaError(f"{size} bytes, more than {Limits().max_bytes}")
        return file.read_bytes()
    except OSError as error:
        raise MediaError(f"cannot be fetched ({type(error).__name__})") from error


def identity_of_files(fingerprint: str, paths: Iterable[str]) -> str:
    """A fingerprint together with where its files lie and, of those on this machine, when each was changed."""
    digest = hashlib.sha256(fingerprint.encode())
    for path in paths:
        digest.update(os.fsencode(path) + b"\n")
        if not is_remote(path):
            with contextlib.suppress(OSError):
                digest.update(str(os.stat(path).st_mtime_ns).encode())
    return digest.hexdigest()[:32]


def read_head(root: str, relative: str) -> bytes:
    path = join(root, relative)
    if is_remote(root):
        with epath.Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    # epath takes no names that are not UTF-8.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, HEAD_BYTES)
    finally:
        os.close(descriptor)


def looks_like_media(head: bytes) -> bool:
    """Whether the first bytes are a media container's."""
    # The last: a transport stream has a sync byte every 188 bytes.
    return any(head.startswith(mark, offset) for offset, mark in _SIGNATURES) or (
        head[:1] == head[188:189] == b"G"
    )
