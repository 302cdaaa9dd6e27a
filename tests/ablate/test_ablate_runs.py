"""What runs, what is left alone, and what a failure or a changed config does."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avssl.ablate.processes import Processes
from avssl.errors import Preempted
from tests.train.command_line import last_step

ONE = 'AblationRow("one", CONFIG, seeds=(0, 1))'
TWO = 'AblationRow("two", CONFIG, ("optimizer.learning_rate=0.01",))'
HEAD = 'AblationRow("head", CONFIG, start_from="one")'
BEATS = 'Claim("two beats one", Cell("two", *KNN), Cell("one", *KNN))'


def test_every_row_and_seed_is_run_once(write_ablation, ablate, pretended, tmp_path):
    pretended.values = {"one/seed-0": 0.5, "one/seed-1": 0.6, "two/seed-0": 0.7}
    file = write_ablation(ONE, TWO, claims=(BEATS,))
    code, out, _ = ablate(file, "--config.data.workers=2")
    assert code == 0
    assert "[3/3] one seed 1, 0 s: done" in out
    flags = [("optimizer.learning_rate", "0.01"), ("data.workers", "2"), ("seed", "0")]
    expected = [f"--config.{key}={text}" for key, text in flags]
    assert pretended.trained[1] == ("two/seed-0", expected)
    assert pretended.names() == ["one/seed-0", "two/seed-0", "one/seed-1"]
    text = (tmp_path / "R.md").read_text()
    assert "## Ablation small\n" in text
    assert "| one | 55.0 ± 7.1 % | 2 | 0.3 |" in text
    assert (
        "| two beats one | 70.0 % against 50.0 % (one), +20.0 points, in 1 of 1 seed | yes (one seed) |"
        in text
    )
    assert "3 of 3 runs measured, 120 steps" in text
    kept = json.loads((file.parent / "results" / "small" / "two-seed0.json").read_text())
    assert kept["facts"]["steps"] == 40
    assert kept["facts"]["train_seconds"] == 20.0
    assert kept["facts"]["machine"] == "a machine"
    assert kept["config"]["optimizer.learning_rate"] == 0.01
    assert kept["rows"][0]["value"] == 0.7


def test_what_is_finished_is_left_alone_on_any_machine(
    write_ablation, ablate, pretended, tmp_path, run
):
    file = write_ablation(ONE, TWO)
    ablate(file, "--rows", "one", "--seeds", "1")
    assert pretended.names() == ["one/seed-1"]
    assert "| one | 50.0 % | 1 of 2 |" in (tmp_path / "R.md").read_text()
    assert "not run yet: two" in (tmp_path / "R.md").read_text()
    # Another machine has the results and no run folder.
    words = (
        "ablate",
        "--config",
        file,
        "--workdir",
        tmp_path / "b",
        "--results",
        tmp_path / "R.md",
    )
    code, out, _ = run(*words, "--dry-run")
    assert code == 0
    assert "one seed 1: finished" in out
    assert "two seed 0: to be trained" in out
    assert "runs to do: 2" in out
    assert pretended.names() == []
    assert not (tmp_path / "b").exists()
    run(*words)
    assert pretended.names() == ["one/seed-0", "two/seed-0"]
    run(*words)
    assert pretended.names() == []
    assert (tmp_path / "R.md").read_text().count("## Ablation small\n") == 1


def test_a_failing_row_is_told_and_the_others_go_on(write_ablation, ablate, pretended, tmp_path):
    file = write_ablation(ONE, HEAD, TWO)
    pretended.failing = {"one/seed-0": 1}
    code, out, err = ablate(file, "--seeds", "0")
    assert code == 1
    assert "2 of 3 runs failed: one seed 0, head seed 0;" in err
    assert "one seed 0, 0 s: failed: step 3: the loss is not finite" in out
    assert pretended.names() == ["one/seed-0", "two/seed-0"]
    text = (tmp_path / "R.md").read_text()
    assert "- one seed 0 failed: step 3: the loss is not finite" in text
    assert "- head seed 0 failed: one seed 0, which it starts from, is not trained" in text
    assert "| one | failed | 0 of 2 |" in text
    assert "| two | 50.0 % | 1 |" in text
    # A look at another row later does not forget it; the next try does.
    ablate(file, "--rows", "two")
    assert "one seed 0 failed" in (tmp_path / "R.md").read_text()
    _, out, _ = ablate(file, "--dry-run")
    assert "one seed 0: to be trained; failed before: step 3: the loss is not finite" in out
    pretended.failing = {}
    code, *_ = ablate(file)
    assert code == 0
    assert "failed" not in (tmp_path / "R.md").read_text()


@pytest.mark.parametrize(
    ("status", "reason"), [(-9, "ended by SIGKILL"), (1, "step 3: the loss is not")]
)
def test_reasons(status, reason, write_ablation, ablate, pretended):
    pretended.failing = {"two/seed-0": status}
    code, out, _ = ablate(write_ablation(TWO))
    assert code == 1
    assert f"failed: {reason}" in out


def test_a_run_that_measured_nothing_failed(write_ablation, ablate, monkeypatch, pretended):
    monkeypatch.setattr(Processes, "call", lambda self, words, log: (0, False))
    code, out, _ = ablate(write_ablation(TWO))
    assert code == 1
    assert "failed: nothing was measured" in out


def test_a_changed_config_is_run_again(write_ablation, ablate, pretended, tmp_path):
    ablate(write_ablation(ONE, HEAD, TWO))
    pretended.names()
    changed = ONE.replace("CONFIG", 'CONFIG, ("ema.decay=0.5",)')
    file = write_ablation(changed, HEAD, TWO)
    _, out, _ = ablate(file, "--dry-run")
    assert "one seed 1: to be trained; again, as its result is of another config (ema.decay)" in out
    pretended.values = {"one/seed-0": 0.9, "one/seed-1": 0.9}
    code, out, _ = ablate(file)
    assert code == 0
    # The one that starts from it is another one then, too.
    assert pretended.names() == ["one/seed-0", "head/seed-0", "one/seed-1"]
    assert (tmp_path / "runs" / "one" / "seed-0.replaced-1" / "eval.json").is_file()
    assert "| one | 90.0 ± 0.0 % | 2 |" in (tmp_path / "R.md").read_text()


def test_another_evaluation_keeps_the_training(write_ablation, ablate, pretended, tmp_path):
    ablate(write_ablation(TWO))
    file = write_ablation(TWO.replace(", (", ', ("eval.protocols=knn", '))
    _, out, _ = ablate(file, "--dry-run")
    assert "step 40 of 40 is there; again, as its result is of another config (eval.prot" in out
    pretended.names()
    ablate(file)
    assert pretended.names() == ["two/seed-0"]
    assert not list((tmp_path / "runs" / "two").glob("*replaced*"))


def test_what_others_start_from_is_trained_where_it_is_needed(
    write_ablation, ablate, pretended, tmp_path
):
    ablate(write_ablation(ONE, HEAD), "--rows", "one")
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    pretended.names()
    _, out, _ = ablate(write_ablation(ONE, HEAD), "--rows", "head", "--dry-run")
    assert "one seed 0: to be trained; again, as its run folder is not here" in out
    ablate(write_ablation(ONE, HEAD), "--rows", "head")
    assert pretended.trained[1][1][-1] == f"--config.init_from={tmp_path}/runs/one/seed-0"
    assert pretended.names() == ["one/seed-0", "head/seed-0"]


TAUGHT = 'AblationRow("{}", "configs/world/distill.py", ("steps=40",), {}, teachers={{"teacher": "one"}}{})'


def test_a_row_teaches_others_online(write_ablation, ablate, pretended, tmp_path):
    """By the same seed where it has one, else by its first; trained again where its folder is not."""
    file = write_ablation(ONE, TAUGHT.format("taught", "(1, 2)", ""))
    code, *_ = ablate(file, "--rows", "taught")
    assert code == 0
    # The first seed of either row comes first.
    assert [name for name, _ in pretended.trained] == [
        "one/seed-1", "taught/seed-1", "one/seed-0", "taught/seed-2",
    ]  # fmt: skip
    for number, seed in ((1, 1), (3, 0)):
        run = f"--config.teachers.teacher.run={tmp_path}/runs/one/seed-{seed}"
        assert run in pretended.trained[number][1]
    assert pretended.taught == []
    pretended.names()
    # A teacher of another config makes another student.
    changed = ONE.replace("CONFIG, seeds", 'CONFIG, ("optimizer.learning_rate=0.5",), seeds')
    ablate(write_ablation(changed, TAUGHT.format("taught", "(1, 2)", "")), "--rows", "taught")
    assert pretended.names() == ["one/seed-1", "taught/seed-1", "one/seed-0", "taught/seed-2"]


def test_a_row_sees_the_objects_of_another(write_ablation, ablate, pretended, tmp_path):
    seeing = 'AblationRow("seeing", CONFIG, seeds=(1, 2), object_encoder="one")'
    code, *_ = ablate(write_ablation(ONE, seeing), "--rows", "seeing")
    assert code == 0
    trained = dict(pretended.trained)
    for seed, others in ((1, 1), (2, 0)):
        run = f"--config.eval.object_encoder={tmp_path}/runs/one/seed-{others}"
        assert run in trained[f"seeing/seed-{seed}"]
    pretended.names()
    # What is measured with another network is measured again.
    changed = ONE.replace("CONFIG, seeds", 'CONFIG, ("optimizer.learning_rate=0.5",), seeds')
    ablate(write_ablation(changed, seeing), "--rows", "seeing", "--seeds", "1")
    assert pretended.names() == ["one/seed-1", "seeing/seed-1"]


def test_a_row_teaches_from_a_store_that_is_written_first(
    write_ablation, ablate, pretended, tmp_path
):
    file = write_ablation(ONE, TAUGHT.format("taught", "(0,)", ", every_seconds=0.25"))
    ablate(file, "--seeds", "0")
    assert pretended.names() == ["one/seed-0", "taught/seed-0"]
    (words,) = pretended.taught
    said = dict(zip(words[1::2], words[2::2], strict=True))
    folder = tmp_path / "runs" / "one" / "seed-0"
    assert said["--teacher"] == str(folder)
    assert (said["--encoder"], said["--every-seconds"]) == ("audio", "0.25")
    assert said["--data"] == "world:quickstart@train"
    assert said["--targets"] == "embedding,logits"
    assert Path(said["--out"]).parent == folder
    ablate(file)
    assert len(pretended.taught) == 1, "what is finished asks for nothing"


def test_without_its_teacher_a_row_fails(write_ablation, ablate, pretended):
    pretended.failing = {"one/seed-0": 1}
    file = write_ablation(ONE, TAUGHT.format("taught", "(0,)", ""))
    code, out, _ = ablate(file, "--seeds", "0")
    assert code == 1
    assert "taught seed 0, 0 s: failed: one seed 0, which teaches it, is not trained" in out


def test_a_request_to_stop_ends_it_with_75(write_ablation, ablate, monkeypatch, pretended):
    monkeypatch.setattr(Processes, "call", lambda self, words, log: (75, True))
    code, _, err = ablate(write_ablation(ONE, TWO))
    assert code == Preempted.exit_code
    assert "stopped during one seed 0; the same command goes on" in err


def test_a_damaged_result_is_named(write_ablation, ablate, pretended):
    file = write_ablation(TWO)
    ablate(file)
    result = file.parent / "results" / "small" / "two-seed0.json"
    result.write_text("<<<<<<< HEAD\n" + result.read_text())
    code, _, err = ablate(file)
    assert code == 2
    assert f"{result} is damaged" in err


def test_a_table_that_cannot_be_written_is_refused_before_training(
    write_ablation, ablate, pretended, tmp_path
):
    code, _, err = ablate(write_ablation(TWO), "--results", tmp_path / "nowhere" / "R.md")
    assert code == 1
    assert "give another place with --results" in err
    assert pretended.names() == []


SHORT = '("steps=10", "eval.protocols=knn", "optimizer.warmup_steps={}")'
REAL = (
    f'AblationRow("one", CONFIG, {SHORT.format(0)})',
    f'AblationRow("two", CONFIG, {SHORT.format(1)}, start_from="one")',
)


def test_real_runs_in_processes_of_their_own(write_ablation, ablate, tmp_path):
    """A few seconds each: the config's encoders have one layer."""
    code, out, err = ablate(write_ablation(*REAL))
    assert (code, err) == (0, "")
    assert "[2/2] two seed 0" in out
    log = (tmp_path / "runs" / "two" / "seed-0" / "pretrain.log").read_text()
    assert f"start: step 10 of {tmp_path}/runs/one/seed-0 (init_from)" in log
    text = (tmp_path / "R.md").read_text()
    assert "2 of 2 runs measured, 20 steps" in text
    assert "not run" not in text
    assert "cores, cpu; jax" in text


def ablation_process(file, tmp_path):
    words = ["--workdir", str(tmp_path / "runs"), "--results", str(tmp_path / "R.md")]
    command = [sys.executable, "-m", "avssl.cli", "ablate", "--config", str(file), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.alone
def test_stopped_and_gone_on(write_ablation, tmp_path):
    file = write_ablation('AblationRow("long", CONFIG, ("steps=400", "eval.protocols=knn"))')
    folder = tmp_path / "runs" / "long" / "seed-0"
    with ablation_process(file, tmp_path) as process:
        deadline = time.monotonic() + 120
        while last_step(folder) < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped during long seed 0" in err
    with ablation_process(file, tmp_path) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "long seed 0" in out
    assert "start: checkpoint of step " in (folder / "pretrain.log").read_text()


@pytest.mark.slow
def test_the_example(run, tmp_path, write_ablation):
    """In a copy, so that its results do not land in the checkout."""
    file = tmp_path / "quick.py"
    file.write_text(Path("configs/ablations/quick.py").read_text())
    words = ("--config", file, "--workdir", tmp_path / "runs", "--results", tmp_path / "R.md")
    code, *_ = run("ablate", *words)
    assert code == 0
    text = (tmp_path / "R.md").read_text()
    assert "## Quick ablation\n" in text
    assert "not measured" not in text
