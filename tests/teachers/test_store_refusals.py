"""Stores that do not fit their students, or teach nobody, and wrong words to `avssl teach`: refused by name."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from avssl.config import resolve
from avssl.data.open import open_source
from avssl.data.views import VideoView
from avssl.errors import UsageError
from avssl.media.encode import encode_clip
from avssl.teachers.open import open_teachers
from avssl.teachers.store import LACKING, UNREADABLE, TargetStore
from avssl.teachers.teach import teach
from tests.teachers.stores import DATA, GRID_SECONDS, student


def test_what_does_not_fit_is_refused(teacher_run, other_run, store, grid, tmp_path):
    def refused(said, spec=DATA, **changes):
        config = student(**{"teachers.teacher.store": str(store)})
        config.update_from_flattened_dict(changes)
        with pytest.raises(UsageError, match=said):
            open_teachers(resolve(config), open_source(spec))

    refused("holds targets of world:tiny@train.*which is not world:tiny@test", "world:tiny@test")
    teacher = "teachers.teacher"
    refused("written by audio of step 1.*which is not step 1", **{f"{teacher}.run": str(other_run)})
    refused("asks for map", **{f"{teacher}.targets": ("map", "logits")})
    refused(r"'audio' is audio: seconds 0.5.*seconds 0.25", **{"views.audio.seconds": 0.5})
    online = {f"{teacher}.store": "", f"{teacher}.run": str(other_run)}
    refused("number 0 is 'a' there and", **online)
    refused("trained on audio: seconds 0.25.*student's view 'audio' is audio: seconds 0.5",
            **{**online, "views.audio.seconds": 0.5})  # fmt: skip
    refused("trained on audio.*view 'video' is video", **{**online, f"{teacher}.view": "video"})
    maps = {teacher: dict(store=str(grid), view="video", targets=("map",)),
            "objectives.distill.loss": "at"}  # fmt: skip
    refused(r"cropped otherwise \(crop=random\).*set its crop to center", **maps)
    refused("moved in time", **maps, **{"views.video.jitter_seconds": 0.1})
    refused("has several windows, for which a store must hold", **maps,
            **{"views.video.windows": 2, "views.video.every_seconds": 0.6})  # fmt: skip
    slots = {teacher: dict(store=str(grid), view="video", targets=("embedding",)),
             "objectives.distill.loss": "hint", "views.video.windows": 2}  # fmt: skip
    refused("the view state every_seconds", **slots)
    refused(r"every 0.5 s, which is no multiple of the 0.3 s", **slots,
            **{"views.video.every_seconds": 0.5})  # fmt: skip
    broken = shutil.copytree(store, tmp_path / "broken")
    shard = next(broken.glob("*.array_record-*"))
    shard.write_bytes(shard.read_bytes()[:-70000])
    refused("is cut|where the metadata say", **{f"{teacher}.store": str(broken)})
    refused("teacher.hash is 0+, and targets of audio of step 1", **{f"{teacher}.hash": "0" * 32})
    meta = json.loads((store / "targets.json").read_text())
    meta["settings"]["version"] = 2
    (broken / "targets.json").write_text(json.dumps(meta))
    refused("of format 2, and this avssl reads format 1", **{f"{teacher}.store": str(broken)})
    panoramas = TargetStore(str(grid))
    panoramas.view = dataclasses.replace(
        panoramas.view, projection="sphere", crop="center", flip=False
    )  # fmt: skip
    with pytest.raises(UsageError, match="directions that are drawn anew"):
        panoramas.check_view("teacher", "video", panoramas.view, ("embedding",))
    sounds = TargetStore(str(store))
    heard = dataclasses.replace(
        sounds.view, window="center", align="center", mirrored_with=VideoView()
    )  # fmt: skip
    sounds.check_view("teacher", "audio", heard, ("embedding",))
    with pytest.raises(UsageError, match=r"mirrored at random, and boxes of .* are not"):
        sounds.check_view("teacher", "audio", heard, ("boxes",))
    # Without labels the teacher's classes are its own.
    config = student(**online)
    config.objectives.distill.label_weight = 0.0
    open_teachers(resolve(config), open_source(DATA))


def test_a_store_that_teaches_nobody_is_refused_and_gaps_are_said(grid, tmp_path, capsys):
    keys = dict(store=str(grid), view="video", targets=("embedding",))
    config = student(**{"teachers.teacher": keys, "objectives.distill.loss": "hint"})
    config.views.video.update(windows=5, every_seconds=GRID_SECONDS)
    said = r"grid' teaches nothing: 32 too short for 5 windows, of 32 records"
    with pytest.raises(UsageError, match=said):
        open_teachers(resolve(config), open_source(DATA))

    gaps = shutil.copytree(grid, tmp_path / "gaps")
    num_windows, state = np.full(32, 4, np.int32), np.zeros(32, np.int8)
    num_windows[:3], num_windows[3] = 0, 2
    state[:3] = (UNREADABLE, LACKING, LACKING)
    np.savez(gaps / "targets.npz", num_windows=num_windows, state=state)
    config.teachers.teacher.store = str(gaps)
    config.views.video.windows = 3
    open_teachers(resolve(config), open_source(DATA))
    assert (
        "teacher 'teacher': 4 of 32 records not taught: 2 without video, 1 that cannot be read, "
        "1 too short for 3 windows\n"
    ) in capsys.readouterr().out
    np.savez(gaps / "targets.npz", num_windows=0 * num_windows, state=np.full(32, LACKING))
    with pytest.raises(UsageError, match=r"gaps' teaches nothing: 32 without video, of 32 records"):
        open_teachers(resolve(config), open_source(DATA))


def test_teaching_what_no_record_has_is_refused(teacher_run, tmp_path):
    for folder in ("pictures", "silent"):
        (tmp_path / folder).mkdir()
    frames = np.zeros((16, 32, 40, 3), np.uint8)
    Image.fromarray(frames[0]).save(tmp_path / "pictures" / "one.png")
    (tmp_path / "silent" / "one.mp4").write_bytes(encode_clip(frames, 8, None, 8000))
    # What pictures lack is known beforehand, what videos lack when they are opened.
    for data, said in (
        (f"images:{tmp_path}/pictures", r"none of the 1 records .* has audio, which this encoder"),
        (f"folder:{tmp_path}/silent", r"out' is empty: of 1 records .* 1 have no audio and 0 can"),
    ):
        with pytest.raises(UsageError, match=said):
            teach(str(teacher_run), data, str(tmp_path / "out"), encoder="audio", batch_size=1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--targets", "logit"), "did you mean 'logits'"),
        (("--encoder", "adio"), "did you mean 'audio'"),
        ((), "has the encoders audio, video: say which one"),
        (("--encoder", "audio", "--top-k", "2"), "--top-k is of logits"),
        (
            ("--encoder", "audio", "--every-seconds", "-1"),
            "--every-seconds must be above 0, or 0 for one window of each record, not -1",
        ),
        (
            ("--encoder", "audio", "--dtype", "float8"),
            "unknown --dtype 'float8'; did you mean 'float",
        ),
        (("--encoder", "audio", "--hosts", "2"), "did you mean '--host'"),
    ],
)
def test_wrong_usage_of_teach(flags, said, run, teacher_run, tmp_path):
    import re

    words = ("teach", "--teacher", teacher_run, "--data", DATA, "--out", tmp_path / "out", *flags)
    code, _, err = run(*words)
    assert code == 2
    assert re.search(said, err), err
    assert not (tmp_path / "out" / "targets.json").exists()
