"""Kill -9 ten times in one run, at random moments and in the middle of saves: no number changes."""

import random
import signal
import time
from pathlib import Path

import pytest

from avssl.train import manifest
from avssl.train.checkpoint_reader import CheckpointReader
from tests.train.command_line import (
    Run,
    assert_identical,
    last_step,
    pretrain,
    start_line,
    temporary_folders,
)

# Long enough for steps without a save under way: a save takes as long as ten to thirty of these steps.
SAVE_EVERY = 50
# No kill lets the run go on by much more than two intervals.
STEPS = 900
MOMENTS = ["save"] * 4 + ["late in a save"] * 2 + ["step"] * 2 + ["start"] * 2
FLAGS = (f"--config.steps={STEPS}", f"--config.checkpoint.every_steps={SAVE_EVERY}")


def committed(workdir: Path) -> list[int]:
    return CheckpointReader(workdir / "checkpoints").steps()


def kill_at_random(run: Run, moment: str, start: int, draw: random.Random) -> None:
    """At the start (importing, restoring, compiling), between two steps, or in a save."""
    if moment == "start":
        time.sleep(draw.uniform(0.5, 4))
    else:
        run.wait_for(lambda: "step " in run.said()[1], "the first step of this start")
        if moment == "step":
            run.wait_for_step(start + draw.randint(SAVE_EVERY, 2 * SAVE_EVERY + 10))
        else:
            run.wait_for(lambda: temporary_folders(run.workdir), "a save")
            time.sleep(draw.uniform(0, 0.05) if moment == "save" else draw.uniform(0.1, 0.8))
    run.process.kill()


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_ten_kills(tmp_path):
    unbroken, workdir = tmp_path / "unbroken", tmp_path / "run"
    pretrain(unbroken, *FLAGS)
    draw = random.Random(2)
    killed_in_a_save, repeated = 0, []
    newest = 0
    for kill, moment in enumerate(draw.sample(MOMENTS, len(MOMENTS))):
        with Run(workdir, *FLAGS) as run:
            kill_at_random(run, moment, newest, draw)
            ended = run.end()
        assert ended.code == -signal.SIGKILL, f"kill {kill} in a {moment} came too late: {ended}"
        in_a_save = bool(temporary_folders(workdir))
        killed_in_a_save += in_a_save
        steps = committed(workdir)
        assert all(manifest.fault(workdir / "checkpoints" / str(step)) is None for step in steps)
        assert max(steps, default=0) >= newest, "a committed checkpoint was lost"
        newest = max(steps, default=0)
        reached = last_step(workdir)
        # Without a save under way, no more than one interval is lost; with one, that of the save too.
        assert reached - newest <= SAVE_EVERY * (1 + in_a_save)
        repeated.append(reached - newest)
    ended = pretrain(workdir, *FLAGS)
    assert start_line(ended).startswith(f"start: checkpoint of step {newest} ")
    assert "damaged" not in ended.err
    assert killed_in_a_save >= 3, killed_in_a_save
    assert max(repeated) > 0
    assert newest > 0
    assert_identical(workdir, unbroken)
    assert not temporary_folders(workdir)
    assert not list((workdir / "checkpoints").glob("damaged-*"))
