"""Sound that is mirrored with a picture: left for right where the picture is flipped, and nowhere else."""

import contextlib
import dataclasses

import numpy as np
import pytest

from avssl.config import base, override, resolve
from avssl.data.joined import Join
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline, evaluation_batches
from avssl.data.views import AudioView, VideoView, build_views
from avssl.errors import UsageError
from avssl.media.channels import mirrored
from avssl.objectives import build_objective
from avssl.teachers.open import check_unseen
from avssl.teachers.spec import build_specs
from avssl.world.ambisonics import plane_wave
from tests.train.small_runs import opened, small_config

SOURCE = "world:tiny_vehicles@train"
PICTURE = VideoView(frames=1, fps=8.0, size=16, align="center")
PLAIN = AudioView(seconds=0.25, rate=8000, channels=2, align="center")
MIRRORED = dataclasses.replace(PLAIN, mirrored_with=PICTURE)
BATCHES = 3
ENCODERS = {
    name: dict(name=f"linear_{name}", modality=name) for name in ("video", "audio")
}  # fmt: skip


def read(views, **options):
    """Batches, of which each array holds all rows."""
    pipeline = Pipeline(open_source(SOURCE), views, batch_size=8, seed=0, **options)
    with pipeline.batches() as batches:
        return [next(batches) for _ in range(BATCHES)]


def turned(plain, flips):
    return np.where(flips[..., None, None], plain[..., ::-1], plain)


def test_a_sound_is_turned_where_its_picture_is():
    flips = []
    for batch in read({"picture": PICTURE, "plain": PLAIN, "sound": MIRRORED}):
        plain, flip = batch["views"]["plain"], batch["geometry"]["picture"]["flip"]
        assert not np.array_equal(plain[..., 0], plain[..., 1])
        np.testing.assert_array_equal(batch["views"]["sound"], turned(plain, flip))
        flips += flip.tolist()
    assert 0 < sum(flips) < len(flips)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_neither_cache_nor_the_picture_changes_it(cache, tmp_path, monkeypatch):
    """Kept is what was decoded; the flip is drawn whether the picture is decoded or not."""
    whole = read({"picture": PICTURE, "plain": PLAIN, "sound": MIRRORED})
    source = open_source(SOURCE)  # before the cache of worlds moves
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    pipeline = Pipeline(
        source, {"sound": MIRRORED, "plain": PLAIN}, batch_size=8, seed=0, cache=cache
    )
    for _ in range(2):
        with pipeline.batches() as batches:
            for expected in whole:
                batch = next(batches)
                for name in ("sound", "plain"):
                    np.testing.assert_array_equal(batch["views"][name], expected["views"][name])


def test_each_window_has_the_flip_of_its_own():
    slots = {"windows": 3, "every_seconds": 0.2}
    picture, plain = (dataclasses.replace(view, **slots) for view in (PICTURE, PLAIN))
    sound = dataclasses.replace(plain, mirrored_with=picture)
    mixed = 0
    for batch in read({"picture": picture, "plain": plain, "sound": sound}):
        flip = batch["geometry"]["picture"]["flip"]
        assert flip.shape == (8, 3)
        np.testing.assert_array_equal(
            batch["views"]["sound"], turned(batch["views"]["plain"], flip)
        )
        mixed += int(np.sum(flip.any(axis=1) & ~flip.all(axis=1)))
    assert mixed


class LeftBox:
    """A store on a grid that always says the same box, on the left."""

    every_seconds = 0.25

    def num_windows(self, index):
        return 4

    def is_gap(self, index):
        return False

    def read(self, index, window, key, kinds):
        return {"boxes": np.array([[0.1, 0.2, 0.4, 0.8, 0.9, 0]], np.float32)}


def test_boxes_of_a_store_are_on_the_side_of_the_sound():
    """Where nothing but the sound is decoded."""
    joins = {"seer": Join(LeftBox(), {"boxes": (1, 6)}, PICTURE)}
    sides = []
    for batch in read({"plain": PLAIN, "sound": MIRRORED}, joins=joins):
        swapped = np.any(batch["views"]["sound"] != batch["views"]["plain"], axis=(1, 2))
        right = batch["targets"]["seer"]["boxes"][:, 0, 0] > 0.5
        assert swapped.tolist() == right.tolist()
        sides += right.tolist()
    assert 0 < sum(sides) < len(sides)


def test_an_evaluation_turns_nothing():
    assert MIRRORED.evaluation() == PLAIN.evaluation()
    views = {"sound": MIRRORED.evaluation(), "plain": PLAIN.evaluation()}
    with evaluation_batches(open_source(SOURCE), views, batch_size=8) as batches:
        for batch in batches:
            np.testing.assert_array_equal(batch["views"]["sound"], batch["views"]["plain"])


def test_draws_of_views_without_it_stay():
    """Older runs go on, and a mirrored view hears the times of one that is not."""
    assert repr(PLAIN) == "AudioView(seconds=0.25, rate=8000, channels=2, align='center')"
    assert MIRRORED.placed_as == PLAIN.placed_as == repr(PLAIN)
    assert MIRRORED != PLAIN


def test_of_ambisonics_the_direction_is_mirrored():
    wave = np.random.default_rng(0).integers(-9000, 9000, 50)

    def heard(front, left, up):
        directions = np.tile(np.array([[front], [left], [up]]), 50)
        return np.round(plane_wave(wave, directions)).astype(np.int16).T

    np.testing.assert_array_equal(mirrored(heard(0.36, 0.48, 0.8)), heard(0.36, -0.48, 0.8))


def test_the_lowest_number_does_not_turn_into_itself():
    lowest = np.array([[5, -32768, 1, 2], [5, 32767, 1, 2]], np.int16)
    assert mirrored(lowest).tolist() == [[5, 32767, 1, 2], [5, -32767, 1, 2]]
    with pytest.raises(ValueError, match="of 8 channels"):
        mirrored(np.zeros((3, 8), np.int16))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audio.mirrored_with": "vidoe"}, "unknown mirrored_with of view 'audio' 'vidoe'.*'video'"),
        ({"audio.mirrored_with": 3}, "unknown mirrored_with of view 'audio' '3'"),
        ({"audio.mirrored_with": "audio"}, "is 'audio', which is heard: name a video view"),
        ({"video.flip": False}, "never mirrored: set views.video.flip=True, or mirrored_with=''"),
        ({"audio.channels": 1}, "one channel has neither: set channels to 2"),
        ({"audio.channels": 8}, "of microphones neither is known"),
        ({"audio.windows": 2, "audio.every_seconds": 1.0}, "it has 1 of them and 'audio' 2"),
        ({"video.mirrored_with": "audio"}, "unknown key of view 'video' 'mirrored_with'"),
    ],
)  # fmt: skip
def test_what_cannot_be_mirrored_is_refused(change, said):
    config = base()
    config.views.video = dict(modality="video", size=16)
    config.views.audio = dict(modality="audio", channels=2, mirrored_with="video")
    config.encoders = ENCODERS
    config.objectives.xid = dict(weight=1.0)
    resolve(config)
    for key, value in change.items():
        view, field = key.split(".")
        config.views[view] = dict(config.views[view].to_dict(), **{field: value})
    with pytest.raises(UsageError, match=said):
        build_views(config.views.to_dict())
    with pytest.raises(UsageError, match=said):
        resolve(config)


def test_a_config_keeps_the_name_and_flags_come_in_any_order():
    config = base()
    config.views.video = dict(modality="video", size=16)
    config.views.audio = dict(modality="audio", channels=2, mirrored_with="video")
    config.encoders = ENCODERS
    config.objectives.xid = dict(weight=1.0)
    kept = resolve(resolve(config))
    assert kept.views.audio.mirrored_with == "video"
    assert build_views(kept.views.to_dict())["audio"].mirrored_with == VideoView(size=16)
    override(kept, [("views.video.flip", "false"), ("views.audio.mirrored_with", "")])
    assert build_views(resolve(kept).views.to_dict())["audio"].mirrored_with is None
    kept.views.audio.mirrored_with = None  # as an exported view says it
    assert build_views(resolve(kept).views.to_dict())["audio"].mirrored_with is None


@pytest.fixture(scope="module")
def hearing():
    config = small_config("stereo_soundnet", precision="float32")
    config.views.picture.flip, config.views.audio.channels = True, 2
    config.views.audio.mirrored_with = "picture"
    return config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"views.picture.crop": "random"}, "does not see how that is cropped"),
        ({"views.audio.mirrored_with": ""}, "does not hear how that is mirrored"),
        ({"views.audio.mirrored_with": "video"}, "set views.audio.mirrored_with=picture and views.pict"),
        ({"views.picture.flip": False, "views.audio.mirrored_with": "video"}, "or mirrored_with=''"),
        ({"views.picture.flip": False, "views.audio.mirrored_with": ""}, ""),
    ],
)  # fmt: skip
def test_a_student_that_hears_knows_the_flips_of_its_teacher(change, said, hearing):
    config = hearing.copy_and_resolve_references()
    config.update_from_flattened_dict(change)
    config = resolve(config)
    refused = pytest.raises(UsageError, match=said) if said else contextlib.nullcontext()
    with refused:
        check_unseen(config, "seer", build_specs(config)["seer"], "audio")


def test_who_hears_is_asked_about():
    (boxes,) = build_objective("stereo_soundnet", {"ranking_weight": 0.0}).targets()
    assert boxes.heard == "audio"


def test_opening_a_teacher_asks(hearing):
    config = hearing.copy_and_resolve_references()
    config.views.audio.mirrored_with = ""
    with pytest.raises(UsageError, match="'seer' says where things are in the view 'picture'"):
        opened(config)
