"""Memory that a step on a CPU has freed stays with the process, for the next step."""

import ctypes
import glob
import os
import sys

# Settings of glibc's malloc.h; a threshold of -1 is never reached.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
NEVER = -1
# NVIDIA, TPUs by either driver, AMD.
ACCELERATORS = ("/dev/nvidiactl", "/dev/accel*", "/dev/vfio/[0-9]*", "/dev/kfd")


def keep_freed_memory() -> bool:
    """Whether malloc was told. To be called before the threads that compute begin.

    A step's arrays on a CPU come from malloc, and glibc gives large ones back to the system as soon as they
    are free: each step then waits for all of their pages anew. One arena that never shrinks holds them.
    Measured on 2 cores: the quickstart's step 242 and 211 ms, AVID's at 112 px with 4 clips 2.02 and 1.69 s;
    the process is 5 % larger. Where accelerators compute, the arrays here are those of the pipeline, whose
    threads would wait for the one arena: there nothing is changed.
    """
    if not sys.platform.startswith("linux") or has_accelerator():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another libc
        return False
    settings = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER))
    return all(mallopt(setting, value) == 1 for setting, value in settings)


def has_accelerator() -> bool:
    """Without asking JAX, which would start its threads."""
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return False
    return any(glob.glob(pattern) for pattern in ACCELERATORS)
