"""One training process per run folder: a second one would remove what the first is saving."""

import errno
import fcntl
import os
import socket
import time
from pathlib import Path

from avssl.errors import AvsslError

# A process that was killed a moment ago may still be giving its memory back.
PATIENCE_SECONDS = 10.0
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class Ownership:
    """Held from construction to `release`; the kernel drops it when the process dies in any way."""

    def __init__(self, folder: Path, patience_seconds: float = PATIENCE_SECONDS):
        self._descriptor: int | None = os.open(folder / ".owner", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._wait(folder, time.monotonic() + patience_seconds)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait(self, folder: Path, deadline: float) -> None:
        assert self._descriptor is not None
        while True:
            try:
                # A record lock belongs to the process: the same process may open the run again.
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in UNSUPPORTED:
                    return  # some shared disks know no locks: then nobody is kept out
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                if time.monotonic() > deadline:
                    holder = os.pread(self._descriptor, 200, 0).decode(errors="replace").strip()
                    raise AvsslError(
                        f"{folder.parent} is being trained by another process ({holder}); "
                        "stop it first, or give this run another --workdir"
                    ) from None
                time.sleep(0.1)
                continue
            os.ftruncate(self._descriptor, 0)
            os.pwrite(
                self._descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0
            )
            return
