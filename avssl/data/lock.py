"""One writer at a time: a lock on a folder that ends with the process that holds it."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.errors import AvsslError, UsageError

LOG = logging.getLogger("avssl")


@contextlib.contextmanager
def folder_lock(path: epath.Path, *, what: str, wait: bool, shared: bool = False) -> Iterator[None]:
    """Holds the lock file `path`; where another process holds it, waits or raises UsageError.

    shared: by any number that share it, while nobody holds it alone.
    The kernel frees the lock when its holder dies, however it dies. Object stores have no locks:
    there nothing is locked, and the caller must see to it that one process writes.
    """
    if "://" in str(path):
        yield
        return
    while True:
        descriptor = _open(path)
        try:
            _lock(descriptor, what, wait, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            # The holder before may have removed the file: a lock on it keeps nobody out any more.
            if os.fstat(descriptor).st_nlink:
                yield
                return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def try_lock(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Whether nobody else holds the lock file; it is then held. Never waits, and the file stays."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _lock(descriptor: int, what: str, wait: bool, kind: int) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if not wait:
            raise UsageError(
                f"another process is writing to '{printable(what)}'; wait for its end"
            ) from error
        LOG.warning("another process is writing to %s; waiting for its end", printable(what))
        fcntl.flock(descriptor, kind)
    except OSError as error:
        raise AvsslError(
            f"'{printable(what)}' cannot be locked ({error.strerror}); "
            "choose a folder on another file system"
        ) from error


def _open(path: epath.Path) -> int:
    # The holder removes the folder of the lock when it is done, maybe between these two lines.
    for _ in range(100):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    raise OSError(errno.ENOENT, "the lock file vanishes", str(path))
