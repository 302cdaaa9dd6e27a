"""What a disk can say no to, as one sentence that says what to do."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator

from avssl.data.keys import printable
from avssl.errors import AvsslError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# ENOENT: no folder can be made there, as in /proc.
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
# ArrayRecord's writer reports through RuntimeError, with the system's words in it.
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


@contextlib.contextmanager
def told_plainly(folder: str, bytes_needed: Callable[[], int]) -> Iterator[None]:
    """Turns a full, read-only or forbidden disk into AvsslError or UsageError."""
    shown = printable(folder)
    try:
        yield
    except ImportError as error:
        # The file system of a bucket is no dependency of ours.
        raise UsageError(f"'{shown}' cannot be reached: {error}") from error
    except (OSError, RuntimeError) as error:
        number = (error.errno or 0) if isinstance(error, OSError) else 0
        if number in _FULL or any(words in str(error) for words in _FULL_WORDS):
            raise AvsslError(
                f"no room left in '{shown}': about {_size(bytes_needed())} more are needed, "
                f"{_free(folder)}; make room and run the same command again"
            ) from error
        if number in _CLOSED:
            raise UsageError(
                f"'{shown}' cannot be written to ({os.strerror(number)}); choose another folder"
            ) from error
        if number in (errno.EEXIST, errno.ENOTDIR):
            raise UsageError(f"'{shown}' is not a folder; choose another name") from error
        raise


def _free(folder: str) -> str:
    try:
        return f"{_size(shutil.disk_usage(folder).free)} are free"
    except OSError:
        return "none are free"


def _size(num_bytes: int) -> str:
    return f"{num_bytes} bytes ({num_bytes / 2**20:.1f} MiB)"
