"""An objective or a teacher that no clip shows what it looks at is refused by name, never silently 0."""

from typing import Any

import numpy as np
import pytest

from avssl.data.pipeline import usable_indices
from avssl.errors import UsageError
from avssl.train.build_model import build_model
from avssl.train.lookers import Looker, lookers
from avssl.train.loop import Completeness
from avssl.train.stream import check_modalities, lookers_in_doubt
from tests.train.small_runs import small_config

ALL, ONE, NONE = np.ones(4, bool), np.arange(4) == 0, np.zeros(4, bool)
ALONE = {"single_modal_weight": 0.0, "cross_modal_weight": 0.0}


class Clips:
    """Four records, of which it is known what they have, or not."""

    spec = "tfds:set"

    def __init__(self, *known):
        self.known = known or None

    def __len__(self):
        return 4

    def modalities(self):
        return self.known


def model_of(name, keys):
    config = small_config(name, precision="float32")
    config.objectives[name].update(keys)
    return build_model(config)


def check(name, keys, *known):
    source: Any = Clips(*known)
    model = model_of(name, keys)
    needed = {model.views[view].modality for view in lookers(model)[0].views}
    check_modalities(source, usable_indices(source, needed)[0], model)


@pytest.mark.parametrize(
    ("name", "keys", "video", "audio", "said"),
    [
        ("xid", {}, NONE, ALL, r"^objective 'xid' .*and none of 4 clips of tfds:set has that"),
        ("xid", {}, ONE, ~ONE, "^objective 'xid' needs clips with audio and video"),
        ("mutual", {}, NONE, ALL, r"^objective 'mutual' .*\(views 'audio' and 'video'\)"),
        ("mutual", {}, ALL, NONE, r"^objective 'mutual' needs clips with audio \(view 'audio'\)"),
        ("distill", {}, ALL, NONE, "^teacher 'teacher' needs clips with audio and video"),
        ("distill", {}, NONE, ALL, r"^objective 'distill' needs clips with video \(view 'video'\)"),
        # Each of the student's and of the teacher's modality is there, and never together.
        ("distill", {}, ~ONE, ONE, "^teacher 'teacher'"),
        ("avl", {}, NONE, ALL, "^objective 'avl' needs clips with audio and video"),
    ],
)
def test_what_no_clip_shows_is_refused(name, keys, video, audio, said):
    with pytest.raises(UsageError, match=said):
        check(name, keys, video, audio)


def test_what_some_clips_show_is_enough_and_the_others_are_counted(capsys):
    check("mutual", {}, ONE, ALL)
    check("distill", {}, ALL, ONE)
    check("mutual", ALONE, NONE, ALL)
    check("supervised", {}, NONE, ALL)
    check("mutual", {})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("data: ")] == [
        "data: 3 of 4 clips lack audio and video: nothing of objective 'mutual' in them",
        "data: 3 of 4 clips lack audio and video: nothing of teacher 'teacher' in them",
        "data: no clip has video: objective 'mutual' learns nothing from its view 'video'",
        "data: no clip has video: objective 'supervised' learns nothing from its view 'video'",
    ]


def test_only_what_nobody_opened_is_watched_for_the_few():
    model = model_of("mutual", {})
    known, unknown = Clips(ALL, ALL), Clips()
    mix: Any = Clips(ALL, ALL)
    mix.parts = ((known, 1.0), (unknown, 1.0))
    sources: Any = (
        (known, ["incomplete_clips"]),
        (unknown, ["incomplete_clips", "mutual/incomplete_clips"]),
        (mix, ["incomplete_clips", "mutual/incomplete_clips"]),
    )
    for source, keys in sources:
        assert [one.key for one in lookers_in_doubt(source, model)] == keys


def watch(num_clips, lacking, *, resumed=False, is_last=False):
    few = Looker("teacher 'a'", "teachers/a/incomplete_clips", ("video",), ("video",))
    watched = Completeness((few,), "folder:wavs", resumed)
    logs = {"faults": np.full(num_clips, -1), few.key: np.array(lacking)}
    watched.check(3, logs, is_last)
    return watched


def test_a_run_stops_when_none_has_been_shown_for_long_or_to_its_end():
    said = r"step 3: teacher 'a' needs clips with video \(view 'video'\), and none of the first"
    with pytest.raises(UsageError, match=said):
        watch(1000, 1000)
    with pytest.raises(UsageError, match=said):
        watch(8, 8, is_last=True)
    watch(999, 999)
    watch(1000, 999, is_last=True)


def test_the_short_end_of_a_resumed_run_is_said_and_stops_nothing(capsys):
    watch(8, 8, resumed=True, is_last=True)
    assert "none of the last 8 clips of folder:wavs" in capsys.readouterr().out
    with pytest.raises(UsageError):
        watch(1000, 1000, resumed=True)
