"""Who reads what a command says may leave: a command that only prints ends, one that works goes on."""

import os
import subprocess
import sys

import pytest

from avssl.cli import main
from tests.conftest import TINY_CONFIG


@pytest.fixture
def unread():
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream
        # What is left in it had to go somewhere, or closing it fails.


def test_a_list_ends_quietly(unread):
    command = [sys.executable, "-m", "avssl.cli", "list", "objectives", "--verbose"]
    found = subprocess.run(command, stdout=unread, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (0, "")


def test_help_ends_quietly(unread, monkeypatch):
    monkeypatch.setattr(sys, "stdout", unread)
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0


def test_a_training_goes_on_without_its_readers(unread, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", unread)
    monkeypatch.setattr(sys, "stderr", unread)
    run = tmp_path / "run"
    assert (
        main(["pretrain", "--config", TINY_CONFIG, "--workdir", str(run), "--config.steps=2"]) == 0
    )
    assert (run / "checkpoints" / "2").is_dir()
    assert sys.stdout is unread


def test_a_failure_that_nobody_reads_keeps_its_exit_code(unread, monkeypatch):
    monkeypatch.setattr(sys, "stderr", unread)
    assert main(["list", "objectives", "--verbos"]) == 2


def test_another_pipe_that_breaks_is_a_failure(run, monkeypatch):
    def broken(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("avssl.listing.listing", broken)
    code, _, told = run("list", "objectives")
    assert (code, told) == (1, "avssl: Broken pipe; --debug shows where it happened\n")
