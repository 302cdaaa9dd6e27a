"""Damaged checkpoints are never used, and a full or closed disk costs the save, not the run."""

import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import AvsslError
from avssl.train import manifest, ownership
from avssl.train.checkpoint import Checkpoints
from avssl.train.checkpoint_reader import CheckpointReader


def items(step: int, size: int = 50) -> dict:
    return {
        "params": {"w": jnp.full((size, size), step, jnp.float32), "b": jnp.ones((3,))},
        "opt_state": {},
    }


@pytest.fixture
def folder(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step in (100, 200, 300):
            checkpoints.save(step, items(step), {"step": step})
    return tmp_path / "checkpoints"


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def largest(folder: Path) -> Path:
    return max(files_of(folder), key=lambda path: path.stat().st_size)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_sound_to_begin_with(folder):
    assert all(manifest.fault(folder / str(step)) is None for step in (100, 200, 300))
    assert CheckpointReader(folder).latest() == 300


@pytest.mark.parametrize("kind", ["cut", "removed", "flipped", "no manifest", "empty folder"])
def test_a_damaged_newest_is_moved_aside_and_named(folder, kind, capfd):
    newest = folder / "300"
    path = largest(newest)
    if kind == "cut":
        os.truncate(path, path.stat().st_size - 1)
    elif kind == "removed":
        path.unlink()
    elif kind == "flipped":
        flip(path, 8 * 100 + 3)
    elif kind == "no manifest":
        path = newest / "manifest.json"
        path.unlink()
    else:
        path = newest / "manifest.json"
        shutil.rmtree(newest)
        newest.mkdir()
    before = files_of(newest)

    assert CheckpointReader(folder).latest() == 200
    told = capfd.readouterr().err
    assert path.name in told
    assert "left alone" in told
    assert files_of(newest) == before
    with pytest.raises(AvsslError, match="is damaged"):
        CheckpointReader(folder).restore_host(300, ["params"])

    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest() == 200
        told = capfd.readouterr().err
        assert len(told.splitlines()) == 1
        assert path.relative_to(newest).as_posix() in told
        assert "the checkpoint of step 300" in told
        assert "moved to checkpoints/damaged-300, using the one of step 200" in told
        assert (checkpoints.restore_host(200, ["params"])["params"]["w"] == 200).all()
        # Steps up to the damaged one can be saved again, and its own too.
        assert checkpoints.save(250, items(250), {})
        assert checkpoints.save(300, items(301), {})
    assert CheckpointReader(folder).latest() == 300
    aside = [folder / "damaged-300" / name.relative_to(newest) for name in before]
    assert all(name.is_file() for name in aside)


def test_damage_while_open_and_names_of_their_own(folder, capfd):
    (folder / "damaged-300").mkdir()
    with Checkpoints(folder) as checkpoints:
        for step in (300, 200):
            flip(largest(folder / str(step)), 5)
        assert checkpoints.latest() == 100
        assert checkpoints.save(1, items(1), {})
        assert checkpoints.latest() == 100
    told = capfd.readouterr().err
    assert "damaged-300-2, using the one of step 100" in told
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        *("1", "100", "damaged-200", "damaged-300", "damaged-300-2")
    ]


def test_where_none_is_sound_nothing_is_moved_and_nothing_begins_anew(folder, capfd):
    for step in (300, 200, 100):
        flip(largest(folder / str(step)), 5)
    before = files_of(folder)
    for _ in range(2):
        with (
            Checkpoints(folder) as checkpoints,
            pytest.raises(AvsslError, match=r"step 300: .*; step 200: .*; step 100: ") as refusal,
        ):
            checkpoints.save(1, items(1), {})
        assert "take another --workdir" in str(refusal.value)
    assert files_of(folder) == before
    assert CheckpointReader(folder).latest() is None
    assert "300 is damaged and left alone" in capfd.readouterr().err
    for step in (300, 200, 100):
        shutil.rmtree(folder / str(step))
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest() is None


ASKED = ["pathlib.Path.read_bytes", "pathlib.Path.stat", "hashlib.file_digest", "os.scandir"]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.EMFILE, errno.EACCES])
def test_a_disk_that_does_not_answer_is_no_damage(folder, monkeypatch, asked, code):
    flip(largest(folder / "300"), 5)
    (folder / "200" / "params" / "_METADATA").unlink()
    before = files_of(folder)
    with Checkpoints(folder) as checkpoints:

        def silent(*_, **__):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(asked, silent)
        with pytest.raises(AvsslError) as refusal:
            checkpoints.latest()
        monkeypatch.undo()
        assert files_of(folder) == before
        if code != errno.EACCES:
            assert f"{folder}" in str(refusal.value)
            assert f": {os.strerror(code)}; nothing was moved" in str(refusal.value)
        assert checkpoints.latest() == 100


def test_what_its_owner_removes_meanwhile_is_passed_over(folder, monkeypatch, capfd):
    """A shared disk calls an open file that another machine removed a stale one."""
    fault = manifest.fault

    def removed(path):
        if path.name != "300":
            return fault(path)
        shutil.rmtree(path)
        raise manifest.unreadable(path, OSError(errno.ESTALE, os.strerror(errno.ESTALE)))

    monkeypatch.setattr(manifest, "fault", removed)
    assert CheckpointReader(folder).latest() == 200
    assert capfd.readouterr().err == ""


def test_an_unfinished_older_one_is_moved_aside_without_reading_it(folder, capfd):
    """Orbax would count it among those to keep."""
    (folder / "200" / "manifest.json").unlink()
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest() == 300
    assert "damaged-200, using the one of step 300" in capfd.readouterr().err


def test_no_random_damage_is_accepted(folder, tmp_path):
    draw = random.Random(7)
    for trial in range(60):
        copy = tmp_path / f"trial{trial}"
        shutil.copytree(folder / "300", copy / "300")
        path = draw.choice(files_of(copy))
        size = path.stat().st_size
        action = draw.choice(["flip", "cut", "remove"]) if size else "remove"
        if action == "flip":
            flip(path, draw.randrange(8 * size))
        elif action == "cut":
            os.truncate(path, draw.randrange(size))
        else:
            path.unlink()
        fault = manifest.fault(copy / "300")
        assert fault is not None, f"{action} of {path} was accepted"
        assert path.relative_to(copy / "300").as_posix() in fault
        shutil.rmtree(copy)


def test_no_flipped_bit_of_the_manifest_is_accepted(folder):
    path = folder / "300" / "manifest.json"
    whole = path.read_bytes()
    for bit in random.Random(3).sample(range(8 * len(whole)), 400):
        flip(path, bit)
        assert manifest.fault(path.parent) is not None, f"bit {bit}"
        path.write_bytes(whole)
    assert manifest.fault(path.parent) is None


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, or None where nobody may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
        ).returncode
    )
    yield place if mounted else None
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def save_and_wait(checkpoints: Checkpoints, step: int, trees: dict) -> None:
    checkpoints.save(step, trees, {})
    checkpoints.wait()


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_is_intact(
    small_disk, tmp_path, monkeypatch, capfd
):
    folder = (small_disk or tmp_path) / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, items(1), {})
        checkpoints.wait()
        noise = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
        if small_disk is None:  # stand in for it where Orbax and we write

            def full(folder):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr("avssl.train.manifest.write", full)
        with pytest.raises(AvsslError) as refusal:
            save_and_wait(checkpoints, 2, {"params": {"w": noise}})
        sentence = str(refusal.value)
        assert f"cannot save the checkpoint of step 2 in {folder}: No space left" in sentence
        assert "4,000,000 bytes" in sentence
        assert "the one of step 1 is intact" in sentence
    assert capfd.readouterr().err == "", "Orbax's own tracebacks"
    assert sorted(path.name for path in folder.iterdir()) == [".owner", "1"]
    monkeypatch.undo()
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest() == 1
        assert checkpoints.save(2, items(2), {})
    assert CheckpointReader(folder).latest() == 2


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_no_permission_is_one_sentence(tmp_path, monkeypatch, code):
    def closed(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", closed)
    with pytest.raises(AvsslError, match=f"cannot write to .*checkpoints: {os.strerror(code)}"):
        Checkpoints(tmp_path / "checkpoints")


HOLD = """
import sys, pathlib
from avssl.train.ownership import Ownership
held = Ownership(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(AvsslError, match=f"trained by another process \\(pid {other.pid} on"):
            ownership.Ownership(folder, patience_seconds=0.2)
        assert CheckpointReader(folder).latest() == 300  # reading is free
        other.kill()
        other.wait()
    ownership.Ownership(folder, patience_seconds=5.0).release()
