"""Every file in configs/ runs two steps in its `:quicktest` variant and says what it is."""

import json
from pathlib import Path

import pytest

from avssl.cli import main
from avssl.config import resolve
from avssl.config_file import load_config

CONFIGS = sorted(str(path) for path in Path("configs").rglob("*.py"))


@pytest.mark.parametrize("config", CONFIGS)
def test_quicktest_runs_two_steps(config, tmp_path):
    command = ["pretrain", "--config", f"{config}:quicktest", "--workdir", str(tmp_path / "run")]
    assert main([*command, "--config.eval.protocols=()"]) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


@pytest.mark.parametrize("config", CONFIGS)
def test_batch_of_the_quicktest_divides_by_eight(config):
    assert resolve(load_config(f"{config}:quicktest")).batch_size % 8 == 0


@pytest.mark.parametrize("config", CONFIGS)
def test_docstring_has_the_command(config):
    assert f"avssl pretrain --config {config} --workdir" in Path(config).read_text()
