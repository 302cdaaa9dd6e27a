"""The other side of `ChildPool`: what runs in the child process."""

import multiprocessing.connection
import os
import resource
import signal
import sys
import threading
import time

from avssl.media.errors import MediaError

ORPHAN_CHECK_SECONDS = 1.0


def main(file_descriptor: int) -> None:
    # The parent decides when to stop; Ctrl-C reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    connection = multiprocessing.connection.Connection(file_descriptor)
    try:
        function, memory_bytes = connection.recv()
        _limit_memory(memory_bytes)
    except Exception as error:
        connection.send(("broken", f"{type(error).__name__}: {error}"))
        return
    connection.send(("ready", None))
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            answer = "done", function(item)
        except MediaError as error:
            answer = "failed", str(error)
        except MemoryError:
            # What it has leaked would count against the next item, so this process ends.
            answer = "spent", f"needs more than {memory_bytes / 1e6:.0f} MB of memory"
        except Exception as error:
            answer = "failed", f"{type(error).__name__}: {error}"
        connection.send(answer)
        if answer[0] == "spent":
            return


def _limit_memory(memory_bytes: int) -> None:
    """Allows this much more address space than is in use now. Only Linux tells how much that is."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))


def _end_with_parent(parent: int) -> None:
    """A child that hangs in a decoder would outlive a parent that was killed."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_SECONDS)
    os._exit(1)
