"""Memory that was freed stays with the process, for the next arrays of its size."""

import ctypes
import glob
import os
import sys

# Settings of glibc's malloc.h; a threshold of -1 is never reached.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
NEVER = -1
# Larger is not taken.
LARGEST_THRESHOLD = 32 << 20
ONE_ARENA = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER))
ARENAS_OF_THREADS = ((M_MMAP_THRESHOLD, LARGEST_THRESHOLD), (M_TRIM_THRESHOLD, NEVER))
# NVIDIA, TPUs by either driver, AMD.
ACCELERATORS = ("/dev/nvidiactl", "/dev/accel*", "/dev/vfio/[0-9]*", "/dev/kfd")


def keep_freed_memory(*, one_arena: bool) -> bool:
    """Whether malloc was told. To be called before the threads that compute or read begin.

    Arrays on a CPU come from malloc, and glibc gives large ones back to the system as soon as they are free:
    the next step, or the next record, then waits for all of their pages anew.

    one_arena: for steps that a CPU computes, one arena that never shrinks holds all of them. Measured on 2
    cores: the quickstart's step 242 and 211 ms, AVID's at 112 px with 4 clips 2.02 and 1.69 s; the process is
    5 % larger. Threads that read would wait for it: where they are alone, or accelerators compute, each keeps
    its own arena, and what is larger than 32 MiB goes back. A record of 1.1 MB is then read in 0.7 ms, not 2.5.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another libc
        return False
    settings = ONE_ARENA if one_arena else ARENAS_OF_THREADS
    return all(mallopt(setting, value) == 1 for setting, value in settings)


def has_accelerator() -> bool:
    """Without asking JAX, which would start its threads."""
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return False
    return any(glob.glob(pattern) for pattern in ACCELERATORS)
