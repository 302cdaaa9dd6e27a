"""Evaluation every so many steps: a line of each, the same training, and nothing repeated or lost."""

import json
import os
import shutil
import signal
import time
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from avssl.cli import main
from avssl.config import load_config, resolve
from avssl.evaluate import run as room
from avssl.evaluate.features import Extractor
from avssl.train.checkpoint_reader import CheckpointReader
from avssl.train.evaluations import HISTORY, StepEvaluations, on_this_process, write_last
from avssl.train.mesh import make_mesh, replicated
from tests.conftest import TINY_CONFIG
from tests.train.command_line import assert_identical

FLAGS = ("--config.steps=6", "--config.checkpoint.every_steps=3")
KNN = "--config.eval.protocols=knn"
EVERY = "--config.eval.every_steps=2"


def trained(workdir, *flags):
    command = ["pretrain", "--config", TINY_CONFIG, "--workdir", str(workdir), *FLAGS, *flags]
    assert main(command) == 0
    return workdir


def history(workdir):
    return [json.loads(line) for line in (workdir / HISTORY).read_text().splitlines()]


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    """A run that was evaluated on its way; and how often an extractor was built."""
    built = []
    with pytest.MonkeyPatch.context() as patch:
        original = Extractor.__init__

        def counted(self, *args, **keys):
            built.append(1)
            original(self, *args, **keys)

        patch.setattr(Extractor, "__init__", counted)
        folder = trained(tmp_path_factory.mktemp("looked_at") / "run", KNN, EVERY)
    return folder, len(built)


def test_each_step_has_its_line_and_the_last_is_the_table(looked_at):
    folder, num_built = looked_at
    lines = history(folder)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert num_built == 2, "one for all steps, one for the end"
    assert lines[-1]["rows"] == json.loads((folder / "eval.json").read_text())["rows"]
    random = [[row["random_init"] for row in line["rows"]] for line in lines]
    assert random[0] == random[1] == random[2]
    values = [[row["value"] for row in line["rows"]] for line in lines]
    assert values[0] != values[1]
    assert {row["features"] for row in lines[0]["rows"]} == {"video", "audio", "joint"}


def test_the_training_does_not_notice(looked_at, tmp_path):
    plain = trained(tmp_path / "run")
    assert not (plain / HISTORY).exists()
    assert_identical(looked_at[0], plain)


def test_a_resumed_run_has_each_step_once(looked_at, tmp_path, capsys):
    """As kills leave it: step 2 has its line, step 3 is saved and not evaluated, a line of step 6 is torn."""
    folder = shutil.copytree(looked_at[0], tmp_path / "run")
    for later in ("4", "6"):
        shutil.rmtree(folder / "checkpoints" / later)
    with open(folder / HISTORY, "r+", encoding="utf-8") as file:
        file.truncate(len("".join(file.readlines()[:2])) + 12)
    trained(folder, KNN, "--config.eval.every_steps=1")
    said = capsys.readouterr().out
    assert "start: checkpoint of step 3 " in said
    assert [f"evaluated step {step} on" in said for step in range(6)] == [False] * 3 + [True] * 3
    lines = {line["step"]: line for line in history(folder)}
    assert list(lines) == [2, 3, 4, 5, 6]
    assert [lines[step] for step in (2, 4, 6)] == history(looked_at[0])


def test_a_request_to_stop_ends_it_and_the_next_start_begins_with_it(
    looked_at, tmp_path, monkeypatch
):
    def asked_to_stop(self, step, variables):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    folder = tmp_path / "run"
    command = ["pretrain", "--config", TINY_CONFIG, "--workdir", str(folder), *FLAGS, KNN, EVERY]
    with monkeypatch.context() as patch:
        patch.setattr(StepEvaluations, "measured", asked_to_stop)
        assert main(command) == 75
    assert CheckpointReader(folder / "checkpoints").latest() == 2
    assert history(folder) == []
    assert main(command) == 0
    assert history(folder) == history(looked_at[0])


def test_what_the_data_do_not_allow_stops_no_training(tmp_path, capsys, monkeypatch):
    config = resolve(load_config(TINY_CONFIG))
    config.eval.update(every_steps=5, protocols=("knn",))
    asked = []
    monkeypatch.setattr(room, "planned", asked.append)
    state: Any = SimpleNamespace(variables=lambda: {"params": {}, "batch_stats": {}})
    with StepEvaluations(config, tmp_path, 0) as evaluations:
        steps = [step for step in range(41) if evaluations.due(step)]
        assert steps == [5, 10, 15, 20, 25, 30, 35], "the last step has the table of the end"
        for step in steps:
            evaluations(step, state)
    said = capsys.readouterr().out
    assert len(asked) == said.count("no table of results at step 5 nor later") == 1
    assert history(tmp_path) == []


def test_arrays_that_are_split_over_processes_are_brought_together(monkeypatch):
    config = resolve(load_config(TINY_CONFIG))
    config.parallel.fsdp = 4
    mesh = make_mesh(4)
    array = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    split = jax.device_put(array, NamedSharding(mesh, PartitionSpec(None, "fsdp")))
    whole = jax.device_put(array, replicated(mesh))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    found = on_this_process({"split": split, "whole": whole}, config)
    for one in found.values():
        assert isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one, array)


def test_without_it_no_step_is_due_and_an_old_history_is_cut(tmp_path):
    config = resolve(load_config(TINY_CONFIG))
    with StepEvaluations(config, tmp_path, 0) as evaluations:
        assert not any(evaluations.due(step) for step in range(41))
    assert not (tmp_path / HISTORY).exists()
    for step in (4, 8):
        write_last(tmp_path, step, [])
    write_last(tmp_path, 8, [])
    StepEvaluations(config, tmp_path, 6).close()
    assert history(tmp_path) == [{"step": 4, "rows": []}]
