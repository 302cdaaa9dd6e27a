"""What several processes must not find each on its own, they do not."""

import json

import jax.numpy as jnp

from avssl.train.agreement import agreed, said_by_all
from avssl.train.checkpoint import Checkpoints
from tests.train.command_line import end, pair


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
    processes = pair("agreeing_child.py", folder, tmp_path)
    try:
        ends = [process.communicate(timeout=120) for process in processes]
    finally:
        end(processes)
    assert [process.returncode for process in processes] == [0, 0], ends
    for number in range(2):
        start, nothing, none, same, other = json.loads((tmp_path / f"{number}.json").read_text())
        assert start == [100, ["params"], 600.0]
        assert nothing == f"{folder}/nothing holds no checkpoint to start from"
        assert none == same == "none"
        assert f"teacher 'other' is {'0' * 32} in process 0 and {'1' * 32} in process 1:" in other
    assert all("damaged" not in err for _, err in ends)
