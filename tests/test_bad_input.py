"""A careless user with broken input: one sentence, the right exit code, and what can be kept is kept."""

import dataclasses
import errno
import json
import os
import re
import resource
import shutil
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from avssl.cli import main
from avssl.data.open import open_source
from avssl.errors import AvsslError
from avssl.train.finite import check_state
from avssl.train.state import TrainState
from tests.media.make_media import (
    clicks,
    index_first,
    make_bad_files,
    make_clip,
    make_media,
    numbered_frames,
)

STRANGE_NAMES = (
    b"\xff\xfe bytes.mp4", b"with space.mp4", b"new\nline.mp4", b"-dash.mp4", b"http:x.mp4",
    b"<b>.mp4", b"\x1b[31mred.mp4", b"%03d.mp4", "ünï.mp4".encode(),
)  # fmt: skip
WRONG_EXTENSIONS = ("txt", "jpg", "mkv", "json", "m3u8", "part")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """(folder, keys of the good, keys of the bad): files of every kind that must be kept or dropped."""
    folder = tmp_path_factory.mktemp("videos")
    good, bad = [], []

    def put(key, media, kept=good):
        path = os.path.join(os.fsencode(folder), os.fsencode(key))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(media)
        kept.append(os.fsencode(key).decode("utf-8", "backslashreplace"))

    clip = make_clip(12)
    for number in range(6):
        put(f"class{number % 2}/{number}.mp4", make_clip(8 + 4 * number))
    for container, codecs in {
        "matroska": ("libx264", "aac"),
        "avi": ("mpeg4", "libmp3lame"),
        "mpegts": ("libx264", "aac"),
        "webm": ("libvpx", "libopus"),
    }.items():
        video, audio = codecs
        media = make_clip(12, container=container, video_codec=video, audio_codec=audio, b_frames=0)
        put(f"containers/{container}.bin", media)
    frames = numbered_frames(range(12))
    put("video_only.mp4", make_media(frames=frames, fps=12))
    for name, container, codec in (
        ("audio_only.wav", "wav", "pcm_s16le"),
        ("audio_only.mp3", "mp3", "libmp3lame"),
    ):
        sound = {"audio": clicks([0.3], 1.0, 44100), "audio_rate": 44100, "audio_codec": codec}
        put(name, make_media(container, **sound))
    for extension in WRONG_EXTENSIONS:
        put(f"extensions/clip.{extension}", clip)
    for name in STRANGE_NAMES:
        put(b"names/" + name, clip)
    (folder / "bad").mkdir()
    secret = tmp_path_factory.mktemp("outside") / "secret.mp4"
    secret.write_bytes(clip)
    bad += [f"bad/{name}" for name in make_bad_files(folder / "bad", secret)]
    put("notes.txt", b"what I filmed\n", bad)
    os.symlink("/nowhere/film.mp4", folder / "bad" / "dangling.mp4")
    bad.append("bad/dangling.mp4")
    return folder, set(good), set(bad)


@pytest.fixture(scope="session")
def built(files, tmp_path_factory):
    """The folder as `data build` made it, once."""
    out = tmp_path_factory.mktemp("built") / "set"
    began = time.monotonic()
    assert main(["data", "build", f"folder:{files[0]}", str(out), "--workers", "2"]) == 0
    assert time.monotonic() - began < 60
    return out


def zombies():
    """Processes of ours that have ended and that nobody has asked after."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(entry.parent.name)
    return found


def test_build_keeps_what_is_usable_and_names_the_rest(files, built, run):
    folder, good, bad = files
    report = json.loads((built / "build_report.json").read_text())
    source = open_source(f"tfds:{built}")
    assert {source.key(index) for index in range(len(source))} == good
    assert {entry["key"] for entry in report["dropped"]} == bad
    assert all(3 < len(entry["reason"]) < 120 for entry in report["dropped"])
    assert zombies() == []
    # Again: what is finished is left alone, and the report is told once more.
    code, out, _ = run("data", "build", f"folder:{folder}", built)
    assert code == 0
    assert f"{len(good)} records" in out
    assert "without audio 1, without video 2" in out
    assert all(f"dropped {key}: " in out for key in bad)
    assert "\x1b" not in out


def test_build_requires(files, run, tmp_path):
    spec = f"folder:{files[0]}/containers"
    code, out, _ = run("data", "build", spec, tmp_path / "a", "--require", "audio,video")
    assert code == 0
    assert "4 records" in out
    (tmp_path / "silent").mkdir()
    shutil.copy(files[0] / "video_only.mp4", tmp_path / "silent")
    words = ("data", "build", f"folder:{tmp_path}/silent", tmp_path / "b", "--require", "audio")
    code, _, err = run(*words)
    assert code == 2
    assert "video_only.mp4: no audio, which --require asks for" in err


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_files(seed, run, tmp_path):
    draws = np.random.default_rng(seed)
    folder = tmp_path / "videos"
    (folder / "bad").mkdir(parents=True)
    bad = {f"bad/{name}" for name in make_bad_files(folder / "bad", seed=seed)}
    good = set()
    for number in range(85):
        container = ("mp4", "matroska", "avi")[number % 3]
        sound = "libmp3lame" if container == "avi" else "aac"
        media = make_clip(int(draws.integers(8, 40)), container=container, audio_codec=sound)
        if container == "mp4" and number % 2:
            media = index_first(media)
        # The tail of some formats is an index that nobody needs: a cut must reach the data.
        cut = number % 5 == 0
        media = media[: int(len(media) * draws.uniform(0.0, 0.6))] if cut else media
        key = f"clips/{number}.{container}"
        (folder / "clips").mkdir(exist_ok=True)
        (folder / key).write_bytes(media)
        (bad if cut else good).add(key)
    began = time.monotonic()
    code, out, _ = run("data", "build", f"folder:{folder}", tmp_path / "set", "--workers", 2)
    assert code == 0
    assert time.monotonic() - began < 60
    source = open_source(f"tfds:{tmp_path}/set")
    assert {source.key(index) for index in range(len(source))} == good
    assert all(f"dropped {key}: " in out for key in bad)
    assert zombies() == []
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20, "kilobytes"


def test_verify_lists_what_is_bad(files, built, run):
    folder, _, bad = files
    code, out, _ = run("data", "verify", f"folder:{folder}", "--workers", 2)
    assert code == 1
    named = {line.split(": ")[1] for line in out.splitlines() if line.startswith("bad: ")}
    # A folder's source passes over what cannot be a video before anybody opens it.
    assert named == bad - {"bad/pipe.mp4", "bad/dangling.mp4", "notes.txt"}
    code, out, _ = run("data", "verify", f"tfds:{built}", "--workers", 2)
    assert code == 0
    assert "no bad records" in out


def test_inspect_shows_bad_records_too(files, run, tmp_path):
    code, out, _ = run("data", "inspect", f"folder:{files[0]}/bad", "--out", tmp_path / "sheets")
    assert code == 0
    assert "empty.mp4: is empty" in out
    assert (tmp_path / "sheets" / "contact_sheet.png").stat().st_size > 0


def test_training_on_a_raw_folder_stops_above_the_limit(files, pretrain, tmp_path):
    code, _, err = pretrain(f"data.source=folder:{files[0]}", "steps=200")
    assert code == 1
    assert "more than data.max_bad_fraction=0.01 allows: bad/" in err
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    # At least 1,000 clips count as seen, so 10 may be bad.
    assert json.loads(lines[-1])["bad_clips"] <= 10


def test_training_on_a_raw_folder_substitutes_the_same_on_every_run(files, pretrain, tmp_path):
    overrides = (f"data.source=folder:{files[0]}", "data.max_bad_fraction=0.9", "steps=6")
    losses = []
    for name in ("a", "b"):
        code, *_ = pretrain(*overrides, workdir=tmp_path / name)
        assert code == 0
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        losses.append([(row["loss"], row["bad_clips"]) for row in rows])
    assert losses[0] == losses[1]
    assert losses[0][-1][1] > 5


def test_nothing_readable(files, pretrain, tmp_path):
    (tmp_path / "bad").mkdir()
    for number in range(20):
        (tmp_path / "bad" / f"{number}.mp4").write_text("words")
    code, _, err = pretrain(f"data.source=folder:{tmp_path}/bad", "data.max_bad_fraction=1")
    assert code == 1
    assert "is not media" in err
    assert "avssl data verify" in err


def test_clips_without_a_modality_are_left_out_at_the_start(built, pretrain):
    code, out, _ = pretrain(f"data.source=tfds:{built}*3+world:tiny@train")
    assert code == 0
    assert "3 records lack audio or video and are left out" in out


@pytest.fixture
def silent(files, tmp_path):
    """A folder of videos without sound, as a source that has opened none of them."""
    (tmp_path / "silent").mkdir()
    for number in range(8):
        shutil.copy(files[0] / "video_only.mp4", tmp_path / "silent" / f"{number}.mp4")
    return f"folder:{tmp_path}/silent"


def test_no_clip_has_both_modalities(silent, pretrain):
    code, _, err = pretrain(f"data.source={silent}", "steps=3")
    assert code == 2
    assert (
        "objective 'xid' needs clips with audio and video (views 'audio' and 'video'), and" in err
    )
    assert "none of the first 24 clips of folder:" in err


def test_no_clip_has_what_a_teacher_hears(silent, run, tmp_path):
    folder = tmp_path / "student"
    code, _, err = run(
        "pretrain", "--config", "tests/teachers/student_config.py", "--workdir", folder,
        f"--config.data.source={silent}", "--config.objectives.distill.label_weight=0",
        "--config.eval.data=", "--config.eval.test_data=",
    )  # fmt: skip
    assert code == 2
    assert "step 4: teacher 'teacher' needs clips with audio and video (views 'audio' and" in err
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["teachers/teacher/incomplete_clips"] == 8
    assert last["incomplete_clips"] == 0


def test_data_smaller_than_a_batch(files, pretrain):
    code, _, err = pretrain(f"data.source=folder:{files[0]}/class0")
    assert code == 2
    assert "3 usable records, fewer than batch_size 8" in err


def test_batch_that_does_not_divide(pretrain):
    code, _, err = pretrain("batch_size=9")
    assert code == 2
    assert "batch_size 9 does not divide over 8 devices" in err


def test_probes_without_classes(files, pretrain, run, tmp_path):
    spec = f"folder:{files[0]}/names"
    code, out, _ = pretrain(
        f"data.source={spec}", "steps=3", "eval.protocols=knn,linear,retrieval", "eval.data=",
        "eval.test_data=",
    )  # fmt: skip
    assert code == 0
    assert "left out: knn, linear, as a probe cannot be trained on" in out
    rows = json.loads((tmp_path / "run" / "eval.json").read_text())["rows"]
    assert {row["protocol"] for row in rows} == {"retrieval"}
    words = ("evaluate", "--workdir", tmp_path / "run", "--data", spec, "--protocols", "linear")
    code, _, err = run(*words)
    assert code == 2
    assert "into a folder per class" in err


def test_full_disk(pretrain, tmp_path, monkeypatch):
    assert pretrain("steps=3")[0] == 0

    def full(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("avssl.train.manifest.write", full)
        code, _, err = pretrain("steps=6")
    assert code == 1
    assert "cannot save the checkpoint of step 6" in err
    assert "No space left on device; it needs up to" in err
    assert "(the one of step 3 is intact)" in err
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    code, out, _ = pretrain("steps=6")
    assert code == 0
    assert "start: checkpoint of step 3" in out


def test_places_that_cannot_be_written(files, pretrain, run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = pretrain(workdir=tmp_path / "file" / "run")
    assert code == 2
    assert "Not a directory; choose another --workdir" in err
    code, _, err = run("data", "build", f"folder:{files[0]}/class0", tmp_path / "file")
    assert code == 2
    assert "is not a folder" in err


def test_shared_memory_too_small(pretrain, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    code, _, err = pretrain("data.workers=2")
    assert code == 2
    assert "of shared memory but /dev/shm has 0 MB free: set fewer data.workers" in err


def test_numbers_that_are_not_finite(pretrain, tmp_path):
    code, _, err = pretrain("optimizer.learning_rate=1e30", "checkpoint.every_steps=1")
    assert code == 1
    assert re.match(r"avssl: step 2: \S+ is (nan|inf)", err.splitlines()[-1])
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("[0-9]*")] == ["1"]


def test_an_update_that_overflows_is_not_saved():
    one, infinite = jnp.ones(2), jnp.array([1.0, jnp.inf])
    counter = jnp.zeros((), jnp.int32)
    state = TrainState(
        step=counter, params={"a": {"kernel": one}}, opt_state=(one,), batch_stats={}, memory={},
        ema={}, seen=counter, bad=counter,
    )  # fmt: skip
    check_state(3, state)
    broken = dataclasses.replace(state, params={"a": {"kernel": infinite}})
    with pytest.raises(AvsslError, match="step 3: params/a/kernel holds values that are not"):
        check_state(3, broken)
