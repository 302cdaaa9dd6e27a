"""What several processes must not find each on its own, they do not."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp

from avssl.train.agreement import agreed, said_by_all
from avssl.train.checkpoint import Checkpoints
from tests.train.command_line import free_port


def test_one_process_agrees_with_itself():
    assert agreed(None) is None
    assert agreed(0) == 0
    assert said_by_all(["a", "b"]) == [("a",), ("b",)]


def test_two_processes_start_from_one_step_of_a_run_that_goes_on(tmp_path):
    """Process 1, which would find a newer step, reads the one that process 0 found; teachers that differ are
    named by both."""
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (100, 200):
            checkpoints.save(step, {"params": {"w": jnp.full((2, 3), step)}}, {})
    child = str(Path(__file__).with_name("agreeing_child.py"))
    address = f"localhost:{free_port()}"
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    processes = [
        subprocess.Popen(
            [sys.executable, child, address, str(number), str(folder), str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, file in enumerate(files)
    ]
    try:
        ends = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0], ends
    for file in files:
        start, nothing, none, same, other = json.loads(file.read_text())
        assert start == [100, ["params"], 600.0]
        assert nothing == f"{folder}/nothing holds no checkpoint to start from"
        assert none == same == "none"
        assert f"teacher 'other' is {'0' * 32} in process 0 and {'1' * 32} in process 1:" in other
    assert all("damaged" not in err for _, err in ends)
