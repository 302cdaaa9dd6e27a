"""Ctrl-C: back at once, one line, exit code 130, and nothing left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avssl.errors import Preempted
from avssl.interrupts import heard
from avssl.train.preemption import stopping_at_once

AVSSL = [sys.executable, "-m", "avssl.cli"]
PRETRAIN = [*AVSSL, "pretrain", "--config", "tests/train/tiny_config.py", "--config.steps=100000"]
PATIENCE_SECONDS = 120.0


class Signalled:
    """A signal arrives while it is collected."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # Python calls the handler between two instructions
            pass


def lose(number):
    with heard(), stopping_at_once():
        thing = Signalled(number)
        del thing
        time.sleep(30)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Preempted)]
)
def test_a_signal_that_python_drops_is_heard_again(number, raised):
    began = time.monotonic()
    with pytest.raises(raised):
        lose(number)
    assert time.monotonic() - began < 10


def group_of(leader):
    """The living processes of a process group."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = entry.read_text().rpartition(")")[2].split()[:3]
            if state != "Z" and int(group) == leader:
                members.append(entry.parent.name)
    return members


def shared_memory_of(leader):
    """Files in shared memory that a process group has open."""
    found = set()
    for member in group_of(leader):
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{member}/maps").read_text()
            found.update(word for word in maps.split() if word.startswith("/dev/shm/"))
    return found


def wait_until(happened, process):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.alone
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("moment", ["start: ", "compiled", "step 60/"])
def test_training(workers, moment, tmp_path):
    words = [*PRETRAIN, "--workdir", str(tmp_path / "run"), f"--config.data.workers={workers}"]
    words.append("--config.log_every_steps=20")
    check_interrupt(words, lambda said: moment in said, tmp_path)


@pytest.mark.alone
@pytest.mark.parametrize("verb", ["build", "verify"])
def test_data(verb, tmp_path):
    from tests.media.make_media import make_clip

    (tmp_path / "clips").mkdir()
    clip = make_clip(1000)
    for number in range(200):
        (tmp_path / "clips" / f"{number}.mp4").write_bytes(clip)
    words = [*AVSSL, "data", verb, f"folder:{tmp_path}/clips", "--workers", "2"]
    words += [str(tmp_path / "out")] if verb == "build" else []
    began = time.monotonic()
    check_interrupt(words, lambda _: time.monotonic() - began > 5, tmp_path)


def check_interrupt(words, is_time, folder):
    with (folder / "said").open("w") as out, (folder / "told").open("w") as err:
        process = subprocess.Popen(words, stdout=out, stderr=err, start_new_session=True)
        try:
            said = [folder / "said", folder / "told"]
            wait_until(lambda: is_time("".join(path.read_text() for path in said)), process)
            shared = shared_memory_of(process.pid)
            os.killpg(process.pid, signal.SIGINT)
            began = time.monotonic()
            assert process.wait(10) == 130
            assert time.monotonic() - began < 10
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    lines = (folder / "told").read_text().splitlines()
    assert [line for line in lines if not line.startswith(("step ", "build", "verify"))] == [
        "avssl: interrupted"
    ]
    # Python's own helper for shared memory ends a moment after its last client.
    deadline = time.monotonic() + 5
    while group_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group_of(process.pid) == []
    assert [name for name in shared if os.path.exists(name)] == []
