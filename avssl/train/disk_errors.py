"""Telling a disk that cannot take more from a fault of the program, however deep it is wrapped."""

import errno
import os

from avssl.errors import AvsslError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def why_not_written(error: BaseException) -> str | None:
    """The system's words ("No space left on device"), or None if the disk is not to blame."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        for code in _FULL + _CLOSED:
            words = os.strerror(code)
            # TensorStore turns the code into text inside a ValueError.
            if getattr(current, "errno", None) == code or words in str(current):
                return words
        current = current.__cause__ or current.__context__
    return None


def write_error(message: str, reason: str, num_bytes: int = 0) -> AvsslError:
    """The message with what to do: a full disk can be emptied, a closed one was the wrong choice."""
    if reason in map(os.strerror, _FULL):
        needed = f", {num_bytes:,} bytes needed" if num_bytes else ""
        return AvsslError(f"{message}{needed}; free space there and run the same command again")
    return UsageError(f"{message}; choose another --workdir, or make this one writable")
