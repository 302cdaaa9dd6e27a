"""Parts for machines, several runs at once, and what a cluster is given."""

import shutil
import subprocess
import threading
import time

import pytest

from avssl.ablate.plan import load_ablation
from avssl.ablate.processes import Processes
from avssl.ablate.record import build_runs
from avssl.ablate.schedule import parts, shard_of

ONE = 'AblationRow("one", CONFIG, seeds=(0, 1))'
HEAD = 'AblationRow("head", CONFIG, start_from="one")'
TWO = 'AblationRow("two", CONFIG, seeds=(0, 1))'
THREE = 'AblationRow("three", CONFIG)'


def runs_of(file, tmp_path):
    _, ablation = load_ablation(str(file))
    return build_runs(ablation, tmp_path / "runs", tmp_path / "results")


def test_parts_hold_together_what_needs_each_other(write_ablation, tmp_path):
    runs = runs_of(write_ablation(ONE, HEAD, TWO, THREE), tmp_path)
    names = [[run.name for run in part] for part in parts(runs)]
    assert names == [
        ["one seed 0", "head seed 0"],
        ["two seed 0"],
        ["three seed 0"],
        ["one seed 1"],
        ["two seed 1"],
    ]
    shards = [shard_of(runs, number, 3) for number in range(3)]
    assert sorted(run.name for shard in shards for run in shard) == sorted(run.name for run in runs)
    assert [run.name for run in shards[0]] == ["one seed 0", "head seed 0", "one seed 1"]
    # Of `head` alone, what it starts from counts as well.
    heads = [run for run in runs if run.row.name == "head"]
    assert parts(heads) == [heads]


def test_a_shard_runs_its_part_and_writes_no_table(write_ablation, ablate, pretended, tmp_path):
    file = write_ablation(ONE, HEAD, TWO)
    code, out, _ = ablate(file, "--shard", "1/2")
    assert code == 0
    assert pretended.names() == ["two/seed-0", "two/seed-1"]
    assert "without --shard writes the table" in out
    assert not (tmp_path / "R.md").exists()
    ablate(file, "--shard", "0/2")
    assert pretended.names() == ["one/seed-0", "head/seed-0", "one/seed-1"]
    ablate(file)
    assert pretended.names() == []
    assert "5 of 5 runs measured" in (tmp_path / "R.md").read_text()


@pytest.mark.parametrize("text", ["2/2", "1", "a/b", "-1/2", "1/0"])
def test_shards_that_are_none(text, write_ablation, ablate, pretended):
    code, _, err = ablate(write_ablation(ONE), f"--shard={text}")
    assert code == 2
    assert "must be I/N" in err


def test_jobs_run_at_once_and_wait_for_what_they_need(
    write_ablation, ablate, pretended, monkeypatch
):
    """Both seeds of `one` are under way together, and `head` begins when its own has ended."""
    both, events = threading.Barrier(2, timeout=20), []

    def call(self, words, log):
        name = f"{log.parent.parent.name}/{log.parent.name}"
        events.append(("begin", name))
        if name.startswith("one"):
            both.wait()
            time.sleep(0.3 if name.endswith("0") else 0.0)
        answer = pretended(words, log)
        events.append(("end", name))
        return answer

    monkeypatch.setattr(Processes, "call", call)
    code, out, _ = ablate(write_ablation(ONE, HEAD), "--jobs", "2")
    assert code == 0
    assert events.index(("begin", "head/seed-0")) > events.index(("end", "one/seed-0"))
    assert "[3/3] head seed 0" in out


def test_expected_time(write_ablation, ablate, pretended, tmp_path):
    file = write_ablation(ONE, TWO)
    _, out, _ = ablate(file, "--list")
    assert "runs to do: 4\n" in out
    ablate(file, "--rows", "one")
    for seed in (0, 1):
        result = tmp_path / "plan" / "results" / "small" / f"one-seed{seed}.json"
        text = result.read_text()
        start = text.index('"wall_seconds": ')
        result.write_text(text[:start] + '"wall_seconds": 90\n' + text[text.index("}", start) :])
    _, out, _ = ablate(file, "--list")
    assert "runs to do: 2, about 3 minutes by those that are finished" in out
    _, out, _ = ablate(file, "--list", "--jobs", "2")
    assert "about 2 minutes" in out  # 1.5
    # Ended by a command that found most of it done.
    for seed in (0, 1):
        result = tmp_path / "plan" / "results" / "small" / f"one-seed{seed}.json"
        result.write_text(
            result.read_text().replace('"train_seconds": 20.0', '"train_seconds": 300.0')
        )
    _, out, _ = ablate(file, "--list")
    assert "about 10 minutes" in out


def test_an_array_job(write_ablation, ablate, pretended, tmp_path, monkeypatch):
    file = write_ablation(ONE, HEAD, TWO)
    words = [
        "ablate",
        "--config",
        str(file),
        "--workdir",
        str(tmp_path / "my runs"),
        "--results=R.md",
    ]
    words += ["--rows", "one,two", "--out", "tables", "--list", "--emit", "slurm"]
    monkeypatch.setattr("sys.argv", ["avssl", *words])
    code, out, _ = ablate(file, "--rows", "one,two", "--emit", "slurm")
    assert code == 0
    assert pretended.names() == []
    job = tmp_path / "runs" / "small.sbatch"
    assert f"wrote {job}: 4 tasks" in out
    text = job.read_text()
    assert "#SBATCH --array=0-3\n" in text
    command = f"srun avssl ablate --config {file} --workdir '{tmp_path}/my runs' --rows one,two"
    assert f'{command} --shard "$SLURM_ARRAY_TASK_ID/4"\n' in text
    assert subprocess.run(["bash", "-n", job]).returncode == 0
    if shutil.which("shellcheck"):
        assert subprocess.run(["shellcheck", job]).returncode == 0


def test_a_store_that_several_need_at_once_is_written_once_at_a_time(
    write_ablation, ablate, pretended, monkeypatch
):
    writing, most = [], []

    def call(self, words, log):
        if words[0] == "teach":
            writing.append(words)
            most.append(len(writing))
            time.sleep(0.2)
            writing.pop()
        return pretended(words, log)

    monkeypatch.setattr(Processes, "call", call)
    rows = (
        f'AblationRow("{name}", "configs/world/distill.py", ("steps=40",), '
        'teachers={"teacher": "one"}, every_seconds=0.25)'
        for name in ("left", "right")
    )
    code, *_ = ablate(write_ablation(ONE, *rows), "--seeds", "0", "--jobs", "2")
    assert code == 0
    assert most == [1, 1]
