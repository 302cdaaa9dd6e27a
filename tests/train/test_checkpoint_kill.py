"""Kill -9 at any moment, also inside a save: what is found next is whole, and newer than before."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from avssl.train import manifest
from avssl.train.checkpoint_reader import CheckpointReader

NUM_KILLS = 10


def in_a_save(folder: Path) -> bool:
    return any("tmp" in name for name in os.listdir(folder))


def wait_for_a_save(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not in_a_save(folder):
        assert time.monotonic() < deadline, "no save began"


def wait_for_a_commit_after(folder: Path, step: int) -> None:
    deadline = time.monotonic() + 60
    while (CheckpointReader(folder).latest() or -1) <= step:
        assert time.monotonic() < deadline, "no save was committed"
        time.sleep(0.01)


def test_ten_kills(tmp_path):
    draw = random.Random(11)
    folder = tmp_path / "checkpoints"
    command = [sys.executable, str(Path(__file__).with_name("saving_child.py"))]
    killed_in_a_save = 0
    seen = [-1]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        assert nursery.stderr is not None
        for kill in range(NUM_KILLS):
            print(folder, file=nursery.stdin, flush=True)
            pid, step = map(int, nursery.stdout.readline().split())
            assert step >= seen[-1], "a committed checkpoint was lost"
            seen.append(step)
            time.sleep(draw.uniform(0.05, 0.4))
            if kill % 3 == 0:
                wait_for_a_save(folder)
            if kill % 3 == 1:  # on a slow machine too, some run gets on
                wait_for_a_commit_after(folder, step)
            os.kill(pid, signal.SIGKILL)
            assert nursery.stdout.readline() == "ended -9\n"
            killed_in_a_save += in_a_save(folder)
            steps = CheckpointReader(folder).steps()
            assert all(manifest.fault(folder / str(step)) is None for step in steps)
            seen.append(CheckpointReader(folder).latest() or -1)
        nursery.stdin.close()
        assert nursery.wait(10) == 0
        assert "damaged" not in nursery.stderr.read()
    assert seen[-1] >= 3
    assert killed_in_a_save >= 3
    assert not list(folder.glob("damaged-*")), "a kill must not look like damage"
