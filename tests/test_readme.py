"""What the README shows runs: the new objective, its config, and every command's flags."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from avssl import objectives
from avssl.command_line import parse
from avssl.config import resolve
from avssl.config_file import load_config
from avssl.objectives.base import Objective
from tests.train.small_runs import batches, small_config, train

README = Path("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def margin(monkeypatch, tmp_path):
    """The README's objective in the registry, from its very text."""
    namespace = {"__name__": "margin"}
    exec(compile(BLOCKS[0], "README.md", "exec"), namespace)
    cls = namespace["Margin"]
    assert issubclass(cls, Objective)
    monkeypatch.setitem(objectives.OBJECTIVES, "margin", cls)
    file = tmp_path / "margin.py"
    file.write_text(BLOCKS[1])
    return file


def test_new_objective_trains_from_the_readme(margin):
    config = small_config("margin", precision="float32")
    config.optimizer.learning_rate = 0.1
    losses, _ = train(config, batches(config, 1) * 30, 8)
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0]


def test_its_config_resolves(margin):
    config = resolve(load_config(f"{margin}:quicktest"))
    assert config.objectives.margin.margin == 0.2
    assert list(config.objectives) == ["margin"]


def test_it_is_about_forty_lines():
    assert len(BLOCKS[0].splitlines()) <= 50


COMMANDS = re.findall(r"^    (?:.*&& )?(avssl (?:.*\\\n)*.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    words = shlex.split(command.replace("\\\n", " "))[1:]
    assert parse(words).function is not None


def test_commands_were_found():
    assert len(COMMANDS) >= 7
