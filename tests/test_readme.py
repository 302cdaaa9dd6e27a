"""What the README shows runs: the new objective, its config, and every command's flags."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from avssl import objectives
from avssl.command_line import parse
from avssl.config import load_config, resolve
from avssl.data.open import open_source
from avssl.objectives.base import Objective
from avssl.teachers.function import teacher_of
from tests.teachers.conftest import make_run
from tests.train.small_runs import batches, small_config, train

README = Path("README.md").read_text(encoding="utf-8")
FUNCTION, EMBEDDING, OBJECTIVE, CONFIG = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def margin(monkeypatch, tmp_path):
    """The README's objective in the registry, from its very text."""
    namespace = {"__name__": "margin"}
    exec(compile(OBJECTIVE, "README.md", "exec"), namespace)
    cls = namespace["Margin"]
    assert issubclass(cls, Objective)
    monkeypatch.setitem(objectives.OBJECTIVES, "margin", cls)
    file = tmp_path / "margin.py"
    file.write_text(CONFIG)
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
    assert len(OBJECTIVE.splitlines()) <= 50


def test_a_function_teaches(tmp_path):
    file = tmp_path / "loudness.py"
    file.write_text(FUNCTION)
    teacher = teacher_of(str(file))
    sound = np.zeros((2, 36000, 1), np.float32)
    sound[1, 1200:2400] = 0.1
    said = np.asarray(teacher.says(sound)["embedding"])
    assert said.shape == (2, 30)
    np.testing.assert_allclose(said[1, :3], [-80, -20, -80], atol=1e-3)
    assert teacher.views[0].seconds == 1.5


def test_trained_encoders_from_python(monkeypatch, tmp_path):
    make_run(tmp_path / "run")
    source = open_source("world:tiny@test")
    for index, name in enumerate(("street.mp4", "dog.mp4")):
        media = source[index].media
        data = media if isinstance(media, bytes) else Path(media).read_bytes()
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    code = EMBEDDING.replace("runs/quickstart", "run")
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    exec(compile(code, "README.md", "exec"), names)
    assert names["seen"].shape == (2, names["encoders"]["video"].dim)
    assert names["heard"].shape[1] == names["same"].shape[0] == names["encoders"]["audio"].dim
    assert len(names["heard"]) > 1
    assert names["features"].embedding.shape == (1, names["encoders"]["audio"].dim)


COMMANDS = re.findall(r"^    (?:.*&& )?(avssl (?:.*\\\n)*.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    words = shlex.split(command.replace("\\\n", " "))[1:]
    assert parse(words).function is not None


def test_commands_were_found():
    assert len(COMMANDS) >= 7
