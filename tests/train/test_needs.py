"""What an objective needs and the data lack is refused before training, in one sentence."""

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avssl.data.needs import what_is_lacking
from avssl.data.open import open_source
from avssl.data.sources.mix import MixedSource
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.media.errors import MediaError
from avssl.train.build_model import build_model
from avssl.train.stream import check_needs
from tests.train.small_runs import small_config


@pytest.mark.parametrize(
    ("config", "overrides", "said"),
    [
        (
            "configs/world/avsa.py", ("data.source=world:tiny@train",),
            "objective 'avsa' needs, for its view .* world:sphere does",
        ),
        (
            "configs/world/avid.py",
            ("data.source=world:tiny_vehicles_mono@train", "views.audio.channels=2"),
            "objective 'avid' needs, for its view 'audio', stereo sound: .* world:quickstart does",
        ),
        (
            "configs/world/avts.py", ("views.audio_shifted.shift_seconds=(2.0, 3.0)",),
            "objective 'avts' needs, for its view 'audio_shifted', clips of at least 2.25 s.*world:long",
        ),
    ],
)  # fmt: skip
def test_a_source_that_lacks_it_is_refused(config, overrides, said, run, generated, tmp_path):
    flags = [f"--config.{override}" for override in overrides]
    folder = tmp_path / "run"
    if overrides[0].startswith("data.source="):
        generated(overrides[0].removeprefix("data.source="))
    code, _, err = run("pretrain", "--config", f"{config}:quicktest", "--workdir", folder, *flags)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert re.search(said, err), err
    assert not (folder / "metrics.jsonl").exists()


def test_what_is_there_is_not_lacking():
    flat, sphere = open_source("world:tiny@train"), open_source("world:tiny_sphere@train")
    panorama = VideoView(projection="sphere", flip=False)
    ambisonics = AudioView(channels=4)
    for view in (panorama, ambisonics):
        assert what_is_lacking(flat, np.arange(len(flat)), view)
        assert not what_is_lacking(sphere, np.arange(len(sphere)), view)
    # A record of 1.5 s has room for half a second that lies half a second away, and not two.
    near = AudioView(seconds=0.5, shift_seconds=(0.5, 5.0))
    far = dataclasses.replace(near, shift_seconds=(2.0, 5.0))
    assert not what_is_lacking(flat, np.arange(4), near)
    assert what_is_lacking(flat, np.arange(4), far)
    assert not what_is_lacking(flat, np.arange(0), far)
    # Three windows of half a second are 1.5 s where they begin half a second after one another.
    slots = AudioView(seconds=0.5, windows=3, every_seconds=0.5)
    assert not what_is_lacking(flat, np.arange(4), slots)
    assert what_is_lacking(flat, np.arange(4), dataclasses.replace(slots, every_seconds=1.0))


def test_a_record_that_cannot_be_had_says_nothing():
    class WithHoles(MixedSource):
        def __getitem__(self, index):
            if index == 0:
                raise MediaError("its picture is damaged")
            return super().__getitem__(index)

    sphere = WithHoles(((open_source("world:tiny_sphere@train"), 1.0),), "holes")
    assert not what_is_lacking(sphere, np.arange(4), AudioView(channels=4))


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("ccl", {}, "learns classes.*two at least$"),
        ("three_level", {"label_weight": 0.0}, "learns classes.*two at least$"),
        ("distill", {}, "learns classes.*set label_weight=0 of objectives.distill"),
        ("distill", {"label_weight": 0.0}, ""),
        ("crd", {"label_weight": 0.0}, "learns classes.*label_weight=0 and other_classes=False"),
        ("cmc", {}, "learns classes"),
        ("cmc", {"label_weight": 0.0}, ""),
    ],
)
def test_students_that_learn_classes_need_labels(name, keys, said):
    config = small_config(name, precision="float32")
    config.objectives[name].update(keys)
    unlabelled: Any = SimpleNamespace(
        spec="folder:videos", label_names=(), labels=lambda: np.full(4, -1, np.int32),
        modalities=lambda: None,
    )  # fmt: skip
    if not said:
        return check_needs(unlabelled, np.arange(4), build_model(config))
    with pytest.raises(UsageError, match=said):
        check_needs(unlabelled, np.arange(4), build_model(config))
