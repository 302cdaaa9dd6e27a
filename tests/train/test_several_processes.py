"""Several processes give one process's numbers, stop at one step, and do not outlive each other."""

import json
import os
import re
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.train.command_line import (
    ROOT,
    Ended,
    Run,
    assert_close,
    assert_identical,
    final_state,
    last_step,
    metrics,
    pretrain,
    start_line,
)

LOCAL = str(ROOT / "launch" / "local.sh")
TWO_PROCESSES, FOUR_PROCESSES = (LOCAL, "2", "4"), (LOCAL, "4", "1")
TOLERANCE = 1e-9
# Proofs in float64: at higher rates these runs are chaotic, and rounding grows from step to step.
PROOF = (
    "--config.precision=float64",
    "--config.optimizer.name=sgd",
    "--config.optimizer.learning_rate=0.01",
    "--config.batch_size=16",
    "--config.steps=20",
    "--config.checkpoint.every_steps=5",
)
ENDLESS = ("--config.steps=100000", "--config.checkpoint.every_steps=10")

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def one_device(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("one") / "run"
    ended = pretrain(workdir, *PROOF)
    assert "for 1 cpu device(s)" in ended.out
    losses = [row["loss"] for row in metrics(workdir).values()]
    assert max(losses) - min(losses) > 0.1, "the run must move, or its equality says nothing"
    return workdir


def process_numbers(workdir: Path, number: int = 2) -> dict[int, int]:
    """The process ids of the run's processes by their number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or somebody else's
        place = re.search(rb"AVSSL_PROCESS_ID=(\d)", environment)
        if place and str(workdir).encode() in words and b"avssl.cli" in words:
            found[int(place[1])] = int(entry.name)
    assert sorted(found) == list(range(number)), found
    return found


def kill_one(workdir: Path, victim: int, *flags: str, launcher: tuple[str, ...]) -> Ended:
    """Kill -9 to one process after twelve steps; the whole must end within a minute, and say who is lost."""
    number = int(launcher[1])
    with Run(workdir, *PROOF, *flags, launcher=launcher) as run:
        run.wait_for_step(1)
        pids = process_numbers(workdir, number)
        run.wait_for_step(12)
        os.kill(pids[victim], signal.SIGKILL)
        killed = time.monotonic()
        ended = run.end(60)
    assert time.monotonic() - killed < 60
    assert ended.code == 1, ended
    assert f"local.sh: process {victim} was ended by signal 9" in ended.err
    lost = re.compile(rf"process {victim}\b.* is lost after step (\d+)\b")
    for other in set(range(number)) - {victim}:
        said = [line for line in ended.err.splitlines() if line.startswith(f"[{other}] avssl: ")]
        assert said, ended.err
        found = lost.search(said[-1])
        assert found, said
        # Process 0 writes a step down when it has seen its end, a few steps after it began.
        assert abs(int(found[1]) - last_step(workdir)) <= 3
    return ended


@pytest.mark.parametrize("mode", ["mesh", "pmap"])
def test_same_losses_as_one_device(mode, one_device, tmp_path):
    workdir = tmp_path / "run"
    evaluated = ("--config.eval.protocols=knn", "--config.eval.every_steps=10")
    flags = (*PROOF, f"--config.parallel.mode={mode}", *evaluated)
    ended = pretrain(workdir, *flags, launcher=TWO_PROCESSES)
    assert ended.out.count("for 8 cpu device(s)") == 2
    assert_close(workdir, one_device, TOLERANCE)
    # Process 0 alone evaluates.
    assert json.loads((workdir / "eval.json").read_text())["rows"]
    assert "[0] evaluated step 10" in ended.out
    assert "[0] evaluated step 20" in ended.out
    assert "[1] evaluated" not in ended.out


def test_same_losses_where_devices_of_processes_take_turns(tmp_path):
    """As along the mesh of a slice of TPUs. Three rows a device: mixup pairs rows of two of them."""
    flags = (
        *PROOF, "--config.steps=4", "--config.batch_size=12", "--config.data.mixup=1.0",
        "--config.objectives.xid.weight=0", "--config.objectives.classify.weight=1",
    )  # fmt: skip
    pretrain(tmp_path / "one", *flags)
    child = (sys.executable, "-m", "tests.train.interleaved_child")
    launcher = (LOCAL, "2", "2", *child)
    ended = pretrain(tmp_path / "two", *flags, launcher=launcher)
    assert "[0] processes along the batch: 0 1 0 1" in ended.out
    assert_close(tmp_path / "two", tmp_path / "one", TOLERANCE)


def test_sigterm_stops_both_at_one_step_and_one_process_goes_on(one_device, tmp_path):
    workdir = tmp_path / "run"
    with Run(workdir, *PROOF, launcher=TWO_PROCESSES) as run:
        run.wait_for_step(2)
        run.process.terminate()
        ended = run.end(60)
    assert ended.code == 75, ended
    stopped = last_step(workdir)
    assert 2 <= stopped < 20
    for process in (0, 1):
        assert f"[{process}] avssl: stopped on request after step {stopped};" in ended.err
    assert final_state(workdir)[0] == stopped

    ended = pretrain(workdir, *PROOF)
    assert start_line(ended).startswith(f"start: checkpoint of step {stopped} ")
    assert_close(workdir, one_device, TOLERANCE)


@pytest.mark.parametrize("victim", [0, 1])
def test_one_process_killed_ends_the_other(victim, tmp_path):
    kill_one(tmp_path / "run", victim, *ENDLESS, launcher=TWO_PROCESSES)


@pytest.mark.timeout(600)
def test_four_processes_of_which_one_is_killed_go_on(one_device, tmp_path):
    workdir = tmp_path / "run"
    kill_one(workdir, 2, launcher=FOUR_PROCESSES)
    ended = pretrain(workdir, *PROOF, launcher=FOUR_PROCESSES)
    assert ended.out.count("for 4 cpu device(s)") == 4
    assert int(start_line(ended).split()[4]) in (5, 10)
    assert_close(workdir, one_device, TOLERANCE)


def test_killed_on_two_processes_goes_on_with_two_bit_for_bit(tmp_path):
    unbroken, workdir = tmp_path / "unbroken", tmp_path / "run"
    pretrain(unbroken, *PROOF, launcher=TWO_PROCESSES)
    kill_one(workdir, 1, launcher=TWO_PROCESSES)
    ended = pretrain(workdir, *PROOF, launcher=TWO_PROCESSES)
    assert int(start_line(ended).split()[4]) in (5, 10)
    assert_identical(workdir, unbroken)


def test_killed_on_one_device_goes_on_with_two_processes(one_device, tmp_path):
    workdir = tmp_path / "run"
    with Run(workdir, *PROOF) as run:
        run.wait_for_step(11)
        run.process.kill()
        assert run.end(60).code == -signal.SIGKILL
    ended = pretrain(workdir, *PROOF, launcher=TWO_PROCESSES)
    assert int(start_line(ended).split()[4]) in (5, 10)
    assert_close(workdir, one_device, TOLERANCE)


def test_a_save_that_fails_in_one_process_ends_both(tmp_path):
    """No room for one of them: nobody waits for what cannot come, and the checkpoint before is named."""
    workdir = tmp_path / "run"
    with Run(workdir, *PROOF, *ENDLESS, launcher=TWO_PROCESSES) as run:
        run.wait_for_step(12)
        too_small = (20_000, 20_000)
        resource.prlimit(process_numbers(workdir)[0], resource.RLIMIT_FSIZE, too_small)
        ended = run.end(60)
    assert ended.code == 1, ended
    why = r"cannot save the checkpoint of step \d+ .*\(the one of step \d+ is intact\)"
    assert re.search(rf"\[0\] avssl: {why}", ended.err), ended.err
    assert re.search(rf"\[1\] avssl: process 1: process 0 has stopped: {why}", ended.err), ended.err


def test_where_all_checkpoints_are_damaged_both_end(one_device, tmp_path):
    workdir = shutil.copytree(one_device, tmp_path / "run")
    steps = sorted(path for path in (workdir / "checkpoints").iterdir() if path.is_dir())
    for folder in steps:
        (folder / "params" / "_METADATA").unlink()
    ended = pretrain(workdir, *PROOF, launcher=TWO_PROCESSES, code=1)
    why = rf"no checkpoint in {workdir}/checkpoints is sound"
    assert re.search(rf"\[0\] avssl: {why}", ended.err), ended.err
    assert re.search(rf"\[1\] avssl: process 1: process 0 has stopped: {why}", ended.err), ended.err
    assert metrics(workdir) == metrics(one_device)
    assert all(folder.is_dir() for folder in steps)


def test_killed_on_two_processes_goes_on_with_one(one_device, tmp_path):
    workdir = tmp_path / "run"
    with Run(workdir, *PROOF, launcher=TWO_PROCESSES) as run:
        run.wait_for_step(11)
        for pid in process_numbers(workdir).values():
            os.kill(pid, signal.SIGKILL)
        assert run.end(60).code == 1
    ended = pretrain(workdir, *PROOF)
    assert int(start_line(ended).split()[4]) in (5, 10)
    assert_close(workdir, one_device, TOLERANCE)
