"""Views of further video tracks: cut like the RGB view, kept apart in caches, blank where missing."""

import dataclasses

import numpy as np
import pytest

from avssl.config import base, quicktest
from avssl.data.needs import what_is_lacking
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.placement import place_in_space
from avssl.data.views import VideoView, build_view
from avssl.errors import UsageError

RGB = VideoView(frames=3, fps=8, size=32)
VIEWS = {"video": RGB} | {eye: dataclasses.replace(RGB, stream=eye) for eye in ("depth", "thermal")}


@pytest.fixture(scope="module")
def eyes():
    return open_source("world:tiny_eyes@test")


def first_batch(source, views, **options):
    return next(Pipeline(source, views, batch_size=4, seed=3, **options).batches())


def test_views_that_differ_in_their_stream_alone_are_cut_alike(eyes):
    batch = first_batch(eyes, VIEWS)
    for eye in ("depth", "thermal"):
        for name, places in batch["geometry"]["video"].items():
            np.testing.assert_array_equal(batch["geometry"][eye][name], places)
        assert batch["present"][eye].all()
        pixels = batch["views"][eye].astype(int)
        assert np.abs(pixels - pixels[..., :1]).max() <= 6  # grey, to the chroma's rounding
    assert not np.array_equal(batch["views"]["depth"], batch["views"]["thermal"])


def test_a_view_without_stream_is_placed_as_before():
    assert repr(RGB) == RGB.placed_as == "VideoView(frames=3, fps=8, size=32)"
    options = dict(frame_width=64, frame_height=64, seed=1, position=5)
    assert place_in_space(RGB, **options) == place_in_space(VIEWS["depth"], **options)
    assert VIEWS["depth"] != RGB
    assert VIEWS["depth"].evaluation().stream == "depth"


def test_a_cache_keeps_the_tracks_apart(eyes):
    plain, cached = (first_batch(eyes, VIEWS, cache=cache) for cache in ("none", "memory"))
    for name in VIEWS:
        np.testing.assert_array_equal(plain["views"][name], cached["views"][name])


def test_a_record_without_the_track_has_a_blank_view():
    batch = first_batch(open_source("world:tiny@test"), VIEWS)
    assert batch["valid"].all()
    assert batch["present"]["video"].all()
    assert not batch["present"]["depth"].any()
    assert not batch["views"]["depth"].any()


def test_a_source_without_the_track_is_refused_before_training(eyes):
    source = open_source("world:tiny@test")
    said = what_is_lacking(source, np.arange(len(source)), VIEWS["depth"])
    assert said.startswith("video stream 'depth': none of 8 records")
    assert said.endswith("world:eyes does")
    assert what_is_lacking(eyes, np.arange(len(eyes)), VIEWS["depth"]) == ""


def test_a_stream_is_a_name():
    with pytest.raises(UsageError, match="name of a video track"):
        build_view("deep", {"modality": "video", "stream": 1})


@pytest.mark.parametrize(
    ("source", "stream", "wanted"),
    [
        ("world:vehicles_mono@train", "depth", "tiny_vehicles_mono"),
        ("world:quickstart@train", "depth", "tiny_eyes"),
        ("world:persons", "", "tiny_persons"),
        ("tfds:somewhere@train", "", "tiny"),
    ],
)
def test_a_quick_test_runs_on_the_smallest_world_that_will_do(source, stream, wanted):
    config = base()
    config.data.source = source
    config.views.video.stream = stream
    quicktest(config)
    assert config.data.source == config.eval.data == f"world:{wanted}@train"
    assert config.eval.test_data == f"world:{wanted}@test"
