"""A run that was stopped, killed, damaged or changed goes on exactly, or says why not."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from avssl import cli
from tests.train.command_line import (
    CONFIG,
    Run,
    assert_identical,
    final_state,
    last_step,
    metrics,
    pretrain,
    start_line,
    temporary_folders,
)

STEPS = 40  # of tiny_config.py, which saves every ten


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """A run from scratch to its end; tests work on copies."""
    workdir = tmp_path_factory.mktemp("unbroken") / "run"
    ended = pretrain(workdir)
    assert start_line(ended) == "start: scratch, seed 0"
    assert sorted(metrics(workdir)) == list(range(1, STEPS + 1))
    assert final_state(workdir)[0] == STEPS
    return workdir


@pytest.fixture
def finished(unbroken, tmp_path) -> Path:
    return shutil.copytree(unbroken, tmp_path / "run")


def test_stopped_then_killed_then_finished(unbroken, tmp_path):
    """SIGTERM twice, then kill -9, each time with other workers or lines; no number changes."""
    workdir = tmp_path / "run"
    with Run(workdir) as run:
        run.wait_for_step(5)
        run.process.terminate()
        run.wait_for(lambda: temporary_folders(workdir), "the save")
        run.process.terminate()
        ended = run.end(30)
    assert ended.code == 75, ended
    stopped = last_step(workdir)
    assert 5 <= stopped < STEPS
    assert f"stopped on request after step {stopped};" in ended.err
    assert final_state(workdir)[0] == stopped

    with Run(workdir, "--config.data.workers=1", "--config.checkpoint.every_steps=5") as run:
        # The second save begins when the first one is on disk.
        run.wait_for_step(stopped + 12)
        run.process.kill()
        ended = run.end()
    assert ended.code == -signal.SIGKILL
    assert start_line(ended).startswith(f"start: checkpoint of step {stopped} ")
    with open(workdir / "metrics.jsonl", "a") as log:
        log.write('{"step": 27, "lo')  # what a kill in a write would leave

    ended = pretrain(workdir, "--config.log_every_steps=4")
    restored = int(start_line(ended).split()[4])
    assert stopped < restored < STEPS
    written = {
        *range(1, restored + 1),
        *(step for step in range(4, STEPS + 1, 4) if step > restored),
    }
    assert sorted(metrics(workdir)) == sorted(written)
    assert_identical(workdir, unbroken)
    assert not temporary_folders(workdir)


@pytest.mark.alone
def test_sigterm_before_the_first_step(tmp_path):
    with Run(tmp_path / "run") as run:
        run.wait_for(lambda: "start: " in run.said()[0], "the start")
        run.process.terminate()
        ended = run.end(60)
    assert ended.code == 75, ended
    assert "stopped on request" in ended.err
    assert last_step(tmp_path / "run") == 0


def cut(folder: Path) -> Path:
    file = largest(folder / "opt_state")
    os.truncate(file, file.stat().st_size // 2)
    return file


def remove(folder: Path) -> Path:
    file = largest(folder / "batch_stats")
    file.unlink()
    return file


def flip_one_bit(folder: Path) -> Path:
    file = largest(folder / "params")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def largest(folder: Path) -> Path:
    return max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )


def test_damaged_checkpoints_are_moved_aside(unbroken, finished):
    """The three newest, each in its own way: the run goes on from the one before."""
    checkpoints = finished / "checkpoints"
    damaged = {
        step: damage(checkpoints / str(step)).relative_to(checkpoints / str(step))
        for step, damage in ((40, cut), (30, remove), (20, flip_one_bit))
    }
    ended = pretrain(finished)
    for step, file in damaged.items():
        assert f"the checkpoint of step {step} is damaged: {file}" in ended.err
        assert f"moved to checkpoints/damaged-{step}, using the one of step 10" in ended.err
        assert (checkpoints / f"damaged-{step}").is_dir()
    assert start_line(ended).startswith("start: checkpoint of step 10 ")
    assert_identical(finished, unbroken)


@pytest.mark.alone
@pytest.mark.parametrize("damage", [cut, remove, flip_one_bit])
def test_damaged_newest_checkpoint(damage, unbroken, finished):
    file = damage(finished / "checkpoints" / str(STEPS))
    ended = pretrain(finished)
    assert file.name in ended.err
    assert start_line(ended).startswith("start: checkpoint of step 30 ")
    assert (finished / "checkpoints" / f"damaged-{STEPS}").is_dir()
    assert_identical(finished, unbroken)


def test_where_all_checkpoints_are_damaged_the_run_stays_as_it_is(finished, capsys):
    """To begin from scratch would cut the log, and is for a person to decide."""
    checkpoints = finished / "checkpoints"
    for step in (40, 30, 20, 10):
        cut(checkpoints / str(step))

    def kept():
        files = (path for path in finished.rglob("*") if path.is_file() and path.name != ".owner")
        return {path: path.read_bytes() for path in files}

    before = kept()
    command = ["pretrain", "--config", str(CONFIG), "--workdir", str(finished)]
    for _ in range(2):
        assert cli.main(command) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "step 40: opt_state/" in said
        assert "step 10: opt_state/" in said
        assert kept() == before


def test_a_finished_run_prints_its_table(unbroken, finished):
    ended = pretrain(finished, "--config.eval.protocols=knn")
    assert "finished already" in ended.out
    assert "knn" in ended.out
    rows = json.loads((finished / "eval.json").read_text())["rows"]
    assert {row["features"] for row in rows} == {"video", "audio", "joint"}
    assert metrics(finished) == metrics(unbroken)


def refused(words: list[str], capsys) -> str:
    """The one sentence of a wrong command, which is answered before anything is read or compiled."""
    assert cli.main(words) == 2
    return capsys.readouterr().err


def test_another_config_is_refused_and_shown(finished, capsys):
    command = ["pretrain", "--config", str(CONFIG), "--workdir", str(finished)]
    before = (finished / "config.json").read_bytes()
    said = refused(
        [*command, "--config.optimizer.learning_rate=0.5", "--config.log_every_steps=7"], capsys
    )
    assert "optimizer.learning_rate: 0.001 -> 0.5" in said
    assert "--allow-config-change" in said
    assert "log_every_steps" not in said
    assert "steps: 40 -> 30" in refused([*command, "--config.steps=30"], capsys)
    said = refused([*command, "--config.steps=50", "--config.optimizer.schedule=cosine"], capsys)
    assert "steps: 40 -> 50" in said
    assert (finished / "config.json").read_bytes() == before


def test_without_its_config_file_the_state_says_what_it_was_trained_with(finished, capsys):
    command = ["pretrain", "--config", str(CONFIG), "--workdir", str(finished)]
    (finished / "config.json").unlink()
    said = refused([*command, "--config.seed=7", "--config.log_every_steps=7"], capsys)
    assert f"{finished} holds a run of another config (seed: 0 -> 7); take another" in said
    assert not (finished / "config.json").exists()
    assert cli.main([*command, "--config.log_every_steps=7"]) == 0
    assert "config changed" not in capsys.readouterr().out
    assert json.loads((finished / "config.json").read_text())["log_every_steps"] == 7

    (finished / "config.json").unlink()
    assert cli.main([*command, "--config.seed=7", "--allow-config-change"]) == 0
    assert capsys.readouterr().out.count("config changed: seed: 0 -> 7\n") == 1


def test_more_steps_and_free_keys_go_on(finished, unbroken, tmp_path):
    flags = (
        "--config.steps=44",
        "--config.data.cache=none",
        "--config.checkpoint.every_steps=3",
        f"--config.data.local_cache={tmp_path}",
        "--config.data.local_cache_gib=0.1",
    )
    ended = pretrain(finished, *flags)
    assert start_line(ended).startswith(f"start: checkpoint of step {STEPS} ")
    after = metrics(finished)
    assert sorted(after) == list(range(1, 45))
    assert {step: after[step] for step in range(1, STEPS + 1)} == metrics(unbroken)
    assert json.loads((finished / "config.json").read_text())["steps"] == 44
    assert final_state(finished)[0] == 44
    assert [path for path in tmp_path.rglob("*") if path.name.isdigit() and path.is_file()]


def test_start_policy(unbroken, tmp_path):
    """Own checkpoint before `init_from`; with averaged parameters and micro-batches, and a change that is
    allowed."""
    workdir = tmp_path / "run"
    flags = (
        f"--config.init_from={unbroken}",
        "--config.ema.decay=0.9",
        "--config.optimizer.accumulate=2",
    )
    ended = pretrain(workdir, "--config.steps=2", *flags)
    assert start_line(ended).startswith(f"start: step {STEPS} of {unbroken} (init_from): ")
    step, state = final_state(workdir)
    assert step == 2
    averaged = {name.removeprefix("ema/") for name in state if name.startswith("ema/")}
    assert averaged == {
        name.removeprefix("params/") for name in state if name.startswith("params/")
    }

    change = ("--allow-config-change", "--config.objectives.xid.temperature=1")
    ended = pretrain(workdir, "--config.steps=3", *flags, *change)
    assert "config changed: objectives.xid.temperature: 0.07 -> 1.0" in ended.out
    assert start_line(ended).startswith("start: checkpoint of step 2 ")
    assert last_step(workdir) == 3
