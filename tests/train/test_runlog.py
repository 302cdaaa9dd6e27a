"""metrics.jsonl is whole after any kill and any full disk; events can be read back."""

import errno
import json
import os
import struct
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import AvsslError
from avssl.train.runlog import RunLog, write_config, write_json


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def logged(folder: Path, *steps: int, resume_step: int = 0) -> None:
    with RunLog(folder, resume_step) as log:
        for step in steps:
            log.append(step, {"loss": step / 7})


def test_one_line_per_step_is_there_when_append_returns(tmp_path):
    with RunLog(tmp_path / "run") as log:
        log.append(1, {"loss": jnp.float32(0.1), "num": np.int64(3), "note": "a", "flag": True})
        written = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert (
        written == '{"step": 1, "loss": 0.10000000149011612, "num": 3, "note": "a", "flag": true}\n'
    )
    assert np.float32(json.loads(written)["loss"]) == np.float32(0.1)


def test_what_is_not_finite_is_null(tmp_path):
    with RunLog(tmp_path) as log:
        log.append(1, {"loss": float("nan"), "norm": np.float32("inf"), "low": jnp.float32("-inf")})

    def refuse(token):
        raise AssertionError(token)

    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=refuse) == dict.fromkeys(("loss", "norm", "low")) | {
        "step": 1
    }


def test_a_resumed_run_cuts_what_it_will_write_again(tmp_path):
    logged(tmp_path, 10, 20, 30, 40)
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    logged(tmp_path, 30, 40, resume_step=25)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    logged(tmp_path, resume_step=20)
    assert [row["step"] for row in rows(tmp_path)] == [10, 20]
    logged(tmp_path, 10)
    assert [row["step"] for row in rows(tmp_path)] == [10]


@pytest.mark.parametrize("torn", [1, 5, 12, 24])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    logged(tmp_path, 10, 20)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 5, "loss": 0.1}'[:torn])  # one without its newline is torn too
    logged(tmp_path, 30, resume_step=20)
    assert [row["step"] for row in rows(tmp_path)] == [10, 20, 30]


def test_a_foreign_line_in_the_middle_is_dropped_and_named(tmp_path, capfd):
    logged(tmp_path, 10)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('hello\n[1]\n{"step": "x"}\n')
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 20}\n')
    logged(tmp_path, resume_step=20)
    assert [row["step"] for row in rows(tmp_path)] == [10, 20]
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 3
    for number, line in enumerate(told, 2):
        assert f"metrics.jsonl:{number} is not" in line


@pytest.mark.parametrize("part", [0, 9])
def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch, part):
    write = os.write

    def full(descriptor, content):
        if part:
            return write(descriptor, content[:part])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunLog(tmp_path) as log:
        log.append(1, {"loss": 1.0})
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(AvsslError, match=r"metrics.jsonl: No space left .*, 25 bytes needed"):
            log.append(2, {"loss": 2.0})
        monkeypatch.undo()
        log.append(3, {"loss": 3.0})
    assert [row["step"] for row in rows(tmp_path)] == [1, 3]


def test_a_run_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(AvsslError, match=r"cannot write .*metrics.jsonl: File exists"):
        RunLog(tmp_path / "run")


def test_config_is_whole_or_absent(tmp_path, monkeypatch):
    write_config(tmp_path / "run", {"seed": 1, "data": {"source": "world:tiny"}})
    path = tmp_path / "run" / "config.json"
    assert json.loads(path.read_text()) == {"seed": 1, "data": {"source": "world:tiny"}}

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AvsslError, match=r"config\.json: No space left"):
        write_config(tmp_path / "run", {"seed": 2})
    assert json.loads(path.read_text())["seed"] == 1
    assert os.listdir(tmp_path / "run") == ["config.json"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"rate": float("nan")})


def events(folder: Path) -> list:
    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(vars(event_pb2)["Event"].FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def test_tensorboard_events(tmp_path):
    with RunLog(tmp_path, resume_step=5) as log:
        log.append(6, {"loss": 0.5, "clips_per_second": 12, "norm": float("nan"), "note": "a"})
        version, session, event = events(tmp_path)  # there without a close
        log.append(7, {"loss": 0.25})
    assert [event.step for event in events(tmp_path)] == [0, 6, 6, 7]
    assert version.file_version == "brain.Event:2"
    assert (session.step, session.session_log.status) == (6, 1)
    assert event.step == 6
    assert event.wall_time > 1e9
    values = {value.tag: value.simple_value for value in event.summary.value}
    assert values == {"loss": 0.5, "clips_per_second": 12.0}


def test_neither_torch_nor_tensorflow_is_imported(tmp_path, monkeypatch):
    """A torch that can be found is not taken, and can still be imported afterwards."""
    (tmp_path / "torch.py").write_text("class Tensor:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] in ("tensorboardX", "torch")]:
        monkeypatch.delitem(sys.modules, name)
    logged(tmp_path, 1)
    assert "torch" not in sys.modules
    assert "tensorflow" not in sys.modules
    import torch

    assert torch.Tensor.__module__ == "torch"
    monkeypatch.delitem(sys.modules, "torch")
