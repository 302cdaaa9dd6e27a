"""A request to stop is heard once, kills nothing, and stops all processes at one step."""

import contextlib
import os
import signal
import subprocess
import time

import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import Preempted
from avssl.train.checkpoint import Checkpoints
from avssl.train.checkpoint_reader import CheckpointReader
from avssl.train.preemption import Preemption
from tests.train.command_line import end, pair


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_a_request(number):
    before = signal.getsignal(number)
    with Preemption() as preemption:
        assert not preemption.requested()
        os.kill(os.getpid(), number)
        assert preemption.requested()
        os.kill(os.getpid(), number)
        assert preemption.requested()
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_what_nothing_is_lost_with_ends_at_once(number):
    def asked():
        # As in the reading of a clip, where errors are the clip's.
        with contextlib.suppress(Exception):
            os.kill(os.getpid(), number)
            time.sleep(30)
        raise AssertionError("the request was taken for an error")

    with Preemption() as preemption:
        with pytest.raises(Preempted), preemption.at_once():
            asked()
        assert preemption.requested()
        os.kill(os.getpid(), number)
        with pytest.raises(Preempted), preemption.at_once():
            raise AssertionError("it was asked for before")


def test_control_c_passes_through():
    with pytest.raises(KeyboardInterrupt), Preemption():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_signal_during_the_save_loses_nothing(tmp_path):
    tree = {"params": {"w": jnp.arange(500_000.0)}}
    with Preemption() as preemption, Checkpoints(tmp_path / "checkpoints") as checkpoints:
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested()
        checkpoints.save(4, tree, {})
        os.kill(os.getpid(), signal.SIGTERM)
        checkpoints.wait()
    reader = CheckpointReader(tmp_path / "checkpoints")
    assert reader.latest() == 4
    np.testing.assert_array_equal(
        reader.restore_host(4, ["params"])["params"]["w"], tree["params"]["w"]
    )


WORDS = ("restored", "running", "stopped", "ready")


def said(process: subprocess.Popen) -> str:
    """The next line of a child. JAX's transport prints among them, and may tear its lines in two."""
    assert process.stdout is not None
    return next(line for line in process.stdout if line.startswith(WORDS))


def test_two_processes_stop_at_one_step_when_one_is_told(tmp_path):
    """Also: process 0 alone moves the damaged one aside, and both go on from the one before."""
    folder = tmp_path / "checkpoints"
    tree = {"params": {"w": jnp.zeros((8, 50))}, "counters": {"n": jnp.asarray(0, jnp.int32)}}
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(100, tree, {})
        checkpoints.save(200, tree, {})
    (folder / "200" / "params" / "_METADATA").unlink()

    processes = pair("stopping_child.py", folder)
    try:
        for process in processes:
            assert said(process) == "restored 100 0\n"
        for process in processes:
            assert said(process) == "running\n"
        processes[1].send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        processes[1].send_signal(signal.SIGTERM)  # the scheduler insists
        stops = {said(process) for process in processes}
        ends = [process.communicate(timeout=60) for process in processes]
    finally:
        end(processes)
    assert [process.returncode for process in processes] == [0, 0], ends
    assert len(stops) == 1, stops
    stop = int(stops.pop().removeprefix("stopped "))
    assert "damaged-200, using the one of step 100" in ends[0][1]
    assert "damaged" not in ends[1][1]
    reader = CheckpointReader(folder)
    assert reader.latest() == stop
    restored = reader.restore(stop, tree)  # from 4 devices of 2 processes onto one
    assert (np.asarray(restored["params"]["w"]) == stop - 100).all()


@pytest.mark.alone
@pytest.mark.parametrize(
    ("moment", "told", "number"),
    [
        ("joining", 0, signal.SIGUSR1),
        ("starting", 1, signal.SIGUSR1),
        ("last step", 0, signal.SIGTERM),
        ("evaluating", 0, signal.SIGUSR1),
        ("evaluating", 1, signal.SIGTERM),
        ("between steps", 0, signal.SIGUSR1),
        ("between steps", 1, signal.SIGTERM),
        ("after that", 1, signal.SIGUSR1),
    ],
)
def test_two_processes_end_with_75_wherever_they_are(moment, told, number):
    processes = pair("asked_child.py", moment)
    try:
        assert said(processes[told]) == "ready\n"
        time.sleep(0.5)
        processes[told].send_signal(number)
        ends = [process.communicate(timeout=60) for process in processes]
    finally:
        end(processes)
    assert [process.returncode for process in processes] == [75, 75], ends
    at_once = moment in ("last step", "evaluating", "between steps")
    words = "nothing was left" if at_once else "after step"
    assert all("avssl: stopped on request" in err and words in err for _, err in ends), ends
    last_words = {err.strip().splitlines()[-1] for _, err in ends}
    assert at_once or len(last_words) == 1, "at one step"
