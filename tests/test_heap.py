"""Freed memory is used again: glibc's malloc would have its pages made anew."""

import os
import subprocess
import sys

import pytest

from avssl import heap

# Page faults of large arrays one after another, each of which can take the place of the one before.
PROGRAM = """
import resource, sys
from avssl.heap import keep_freed_memory
import numpy as np
size = 2 ** int(sys.argv[2])
if sys.argv[1] != "given back":
    assert keep_freed_memory(one_arena=sys.argv[1] == "one arena")
np.ones(size, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(size, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def is_glibc():
    return "CS_GNU_LIBC_VERSION" in os.confstr_names and bool(os.confstr("CS_GNU_LIBC_VERSION"))


def faults(how, size):
    words = [sys.executable, "-c", PROGRAM, how, str(size)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return int(ended.stdout)


@pytest.mark.skipif(not is_glibc(), reason="another libc than glibc")
@pytest.mark.parametrize(("how", "size"), [("one arena", 26), ("arenas of threads", 24)])
def test_freed_memory_is_kept(how, size):
    # By hundreds at least, where pages are of 2 MiB.
    assert 5 * faults(how, size) < faults("given back", size)


def test_an_accelerator_is_a_device_file(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(heap, "ACCELERATORS", (str(tmp_path / "accel*"),))
    assert not heap.has_accelerator()
    (tmp_path / "accel0").touch()
    assert heap.has_accelerator()
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert not heap.has_accelerator()
