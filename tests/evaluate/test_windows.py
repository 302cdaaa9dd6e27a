"""N windows x M crops of each clip, averaged by clip: where they lie, and that any batches give the same."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from scipy.special import expit, softmax

from avssl.config import load_config, resolve
from avssl.data.open import open_source
from avssl.data.pipeline import evaluation_batches
from avssl.data.placement import anchor_windows, place_in_space, place_in_time
from avssl.data.views import AudioView, VideoView, spread
from avssl.errors import UsageError
from avssl.evaluate import windows as room
from avssl.evaluate.windows import Averaging, Windows, mean_of_classes, mean_of_tags
from avssl.train.build_model import evaluation_model
from tests.conftest import TINY_CONFIG

SIX = Windows(3, 2)
VIDEO, AUDIO = VideoView(frames=2, fps=2.0, size=32), AudioView(seconds=0.5)


def places(frame_width, frame_height, crops=3):
    view: Any = spread(VIDEO, 2, crops)
    size = {"frame_width": frame_width, "frame_height": frame_height}
    return [place_in_space(view, **size, seed=0, position=5, number=n) for n in range(2 * crops)]


def test_windows_lie_evenly_from_the_first_moment_to_the_last():
    views = [spread(VIDEO, 3, 2), spread(AUDIO, 3, 2)]
    found = place_in_time(
        views, anchor_windows(views), duration_seconds=5.0, seed=0, position=0
    )  # fmt: skip
    video, audio = (found[view] for view in views)
    np.testing.assert_allclose(video, [0.0, 2.0, 4.0])
    # In the middle of the picture's window, as in an evaluation of one.
    np.testing.assert_allclose(audio, [0.25, 2.25, 4.25])
    short = place_in_time(views, anchor_windows(views), duration_seconds=0.5, seed=0, position=0)
    assert short[views[0]] == [0.0, 0.0, 0.0]
    one = [spread(VIDEO, 1, 3)]
    found = place_in_time(one, anchor_windows(one), duration_seconds=5.0, seed=0, position=0)
    assert found[one[0]] == [2.0]


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (40, 40), (20, 60)])
def test_crops_lie_evenly_along_the_longer_side(width, height):
    found = places(width, height)
    side = min(width, height, 32)
    assert {(crop.width, crop.height, crop.flip) for crop in found} == {(side, side, False)}
    room = max(width, height) - side
    middle = (min(width, height) - side) // 2
    expected = [(0, middle), (room // 2, middle), (room, middle)]
    if height > width:
        expected = [(top, left) for left, top in expected]
    assert [(crop.left, crop.top) for crop in found[:3]] == expected
    assert found[3:] == found[:3], "of the second window the same"


def test_one_crop_is_that_of_the_centre():
    (one, _) = places(60, 40, crops=1)
    still = VIDEO.evaluation()
    expected = place_in_space(still, frame_width=60, frame_height=40, seed=0, position=5)
    assert one == expected


def test_means_are_of_probabilities():
    logits = 5 * np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float32)
    np.testing.assert_allclose(
        softmax(mean_of_classes(logits), axis=1), softmax(logits, axis=2).mean(axis=1), rtol=1e-5
    )
    np.testing.assert_allclose(
        expit(mean_of_tags(logits)), expit(logits).mean(axis=1), rtol=1e-5, atol=1e-12
    )
    far = np.full((1, 2, 2), 500.0, np.float32) * np.array([1, -1], np.float32)
    assert np.isfinite(mean_of_tags(far)).all()
    assert np.isfinite(mean_of_classes(far)).all()


@pytest.fixture(scope="module")
def tuned():
    """(model, weights) of a tiny run that says classes of both modalities, and tags of the sound."""
    config = load_config(TINY_CONFIG)
    both = dict(weight=1.0, modalities=("video", "audio"), num_classes=5)
    tags = dict(weight=1.0, modalities=("audio",), num_classes=5, multi_label=True)
    config.objectives = dict(classify=both, classify__tags=tags, xid=dict(weight=1.0))
    config.data.num_records = 32
    model = evaluation_model(resolve(config))
    return model, {"one": jax.jit(model.init)(jax.random.key(0))}


def said_of(tuned, *, indices=None, windows=SIX, **keys):
    source = open_source("world:tiny@test")
    indices = np.arange(len(source)) if indices is None else indices
    model, weights = tuned
    kept, said = Averaging(model, weights["one"], windows, **keys)(weights, source, indices)
    return kept, said["one"].said


def test_the_mean_of_single_windows(tuned):
    """Against one pass for each window, whose start is given; a square picture has one place for crops."""
    model, weights = tuned
    source = open_source("world:tiny@test")
    still = model.only(["classify", "classify__tags"]).without_draws()
    span = max(view.span_seconds for view in still.views.values())
    duration = source[0].duration_seconds
    assert duration is not None
    logits = {"classify": [], "classify__tags": []}
    views = {name: dataclasses.replace(view, align="start") for name, view in still.views.items()}
    assert len({view.span_seconds for view in views.values()}) == 2
    for share in (0.0, 0.5, 1.0):
        starts = np.full(6, share * (duration - span))
        parts = []
        for name, view in views.items():
            own = starts + (span - view.span_seconds) / 2
            with evaluation_batches(
                source, {name: view}, batch_size=6, indices=np.arange(6), starts=own
            ) as batches:
                parts.append(next(batches))
        batch = {**parts[0]}
        for group in ("views", "geometry", "present"):
            batch[group] = {**parts[0][group], **parts[1][group]}
        batch.pop("mask")
        outputs, _ = still.encode(
            weights["one"], jax.tree.map(jnp.asarray, batch), jax.random.key(0), train=False
        )
        for name in logits:
            logits[name].append(np.asarray(outputs[name]["logits"]))
    kept, said = said_of(tuned, indices=np.arange(6), windows=Windows(3, 1))
    assert kept.all()
    assert said.keys() == logits.keys(), "what says neither classes nor tags is not asked"
    found = softmax(said["classify"]["label_logits"]["joint"], axis=1)
    expected = softmax(np.stack(logits["classify"]), axis=2).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    found = expit(said["classify__tags"]["tag_logits"]["audio"])
    np.testing.assert_allclose(
        found, expit(np.stack(logits["classify__tags"])).mean(axis=0), rtol=1e-4, atol=1e-6
    )


def test_crops_of_one_window_in_time_share_its_sound(tuned):
    """Against one pass for each crop, given as the picture of a clip."""
    model, weights = tuned
    kept, said = said_of(tuned, windows=Windows(1, 3), indices=np.arange(6))
    assert kept.all()
    still = model.only(["classify", "classify__tags"]).without_draws()
    views = {name: spread(view, 1, 3) for name, view in still.views.items()}
    source = open_source("world:tiny@test")
    with evaluation_batches(source, views, batch_size=6, indices=np.arange(6)) as batches:
        batch = next(batches)
    batch.pop("mask")
    crops, parts = batch["views"]["video"], {"classify": [], "classify__tags": []}
    assert crops.shape[:2] == (6, 3)
    assert not np.array_equal(crops[:, 0], crops[:, 2])
    for number in range(3):
        pictures = {**batch["views"], "video": crops[:, number]}
        outputs, _ = still.encode(
            weights["one"], jax.tree.map(jnp.asarray, {**batch, "views": pictures}),
            jax.random.key(0), train=False,
        )  # fmt: skip
        for name, logits in parts.items():
            logits.append(np.asarray(outputs[name]["logits"]))
    found = softmax(said["classify"]["label_logits"]["joint"], axis=1)
    expected = softmax(np.stack(parts["classify"]), axis=2).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    found = said["classify__tags"]["tag_logits"]["audio"]
    np.testing.assert_allclose(found, parts["classify__tags"][0], rtol=1e-4, atol=1e-5)


def test_any_batches_and_devices_give_the_same(tuned, monkeypatch):
    kept, said = said_of(tuned, batch_size=200)
    assert kept.all()
    assert len(said["classify"]["label_logits"]["joint"]) == len(kept)
    # 8 devices take 8 clips at a time; one takes 3, and the last batch is not full.
    single = Mesh(np.asarray(jax.devices()[:1]).reshape(-1, 1), ("data", "fsdp"))
    monkeypatch.setattr(room, "local_mesh", lambda: single)
    other_kept, other = said_of(tuned, batch_size=18)
    np.testing.assert_array_equal(kept, other_kept)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), said, other)


@pytest.mark.parametrize(
    ("name", "places"),
    [("audio", {"shift_seconds": (0.1, 0.2)}), ("video", {"projection": "sphere"})],
)
def test_views_with_places_of_their_own_are_refused(tuned, name, places):
    model, weights = tuned
    views = {**model.views, name: dataclasses.replace(model.views[name], **places)}
    monkeyed = dataclasses.replace(model, views=views)
    with pytest.raises(UsageError, match="make several windows of the one of a view"):
        Averaging(monkeyed, weights["one"], Windows(2, 1))
