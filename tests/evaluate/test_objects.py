"""Maps of objects by another network than the run's own."""

import dataclasses
import json
import re
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.config import load_config, resolve, run_config, to_json
from avssl.data.open import open_source
from avssl.data.pipeline import evaluation_batches
from avssl.errors import UsageError
from avssl.evaluate import objects
from avssl.evaluate.objects import object_network
from avssl.evaluate.places import MapOptions
from avssl.evaluate.run import Asked, planned
from avssl.models.linear import LinearVideo
from avssl.models.registry import ENCODERS, build_encoder
from avssl.signal.frontends import build_frontend
from avssl.teachers.teacher import teacher_of_run
from avssl.train.build_model import build_model, evaluation_model
from avssl.train.checkpoint import Checkpoints
from avssl.train.run import build_setup, fresh_state, metadata, with_num_records
from avssl.train.runlog import write_config
from tests.conftest import TINY_CONFIG

DATA = "world:tiny"
WIDTH = 16


def saved(folder, objectives, seed=0, **changes):
    """A run at initialisation."""
    config = load_config(TINY_CONFIG)
    config.seed, config.objectives = seed, objectives
    config.data.source = config.eval.data = f"{DATA}@train"
    config.eval.test_data = f"{DATA}@test"
    config.encoders.video.features = WIDTH
    config.update_from_flattened_dict(changes)
    source = open_source(config.data.source)
    config = with_num_records(resolve(config), source)
    state = fresh_state(build_setup(config, build_model(config), jax.devices()[:1]))
    folder.mkdir()
    write_config(folder, to_json(config))
    with Checkpoints(folder / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(1, state.items(), metadata(config, source, 1))
        checkpoints.wait()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def localizing(runs):
    return saved(runs / "av", dict(ez_vsl=dict(weight=1.0, channels=WIDTH)))


@pytest.fixture(scope="module")
def seeing(runs):
    """Of other weights."""
    return saved(runs / "objects", dict(supervised=dict(weight=1.0, num_classes=4)), seed=1)


@pytest.fixture(scope="module")
def larger(runs):
    return saved(
        runs / "larger",
        dict(supervised=dict(weight=1.0, num_classes=4)),
        **{"views.video.size": 24},
    )


class Blind(LinearVideo):
    @nn.compact
    def __call__(self, x, **keys):
        return super().__call__(x, **keys).replace(map=None)


def test_its_maps_are_scored_in_place_of_the_runs_own(run, localizing, seeing, tmp_path):
    def measured(*flags):
        file = tmp_path / "rows.json"
        words = ("--workdir", localizing, "--protocols", "localization", "--alpha", 0.4)
        code, printed, _ = run("evaluate", *words, "--json", file, *flags)
        assert code == 0
        rows = json.loads(file.read_text())["rows"]
        found = {row["features"]: row for row in rows if row["metric"] == "mean_ciou"}
        return printed, found

    printed, other = measured("--object-encoder", seeing)
    assert f"maps of objects: video of step 1 of {seeing}" in printed
    own = measured()[1]
    assert other["video"] == own["video"]
    for kind in ("objects", "fused"):
        assert other[kind]["value"] != own[kind]["value"]
    # No weights of the run move them: random ones would give the same.
    assert other["objects"]["random_init"] is None
    assert other["fused"]["random_init"] not in (None, other["fused"]["value"])
    assert own["objects"]["random_init"] not in (None, own["objects"]["value"])
    # Its own network is another one as well.
    itself = measured("--object-encoder", localizing)[1]
    for kind in ("objects", "fused"):
        assert itself[kind]["value"] == own[kind]["value"]


def test_a_network_of_single_pictures_sees_clips(runs, localizing, monkeypatch):
    still = {"views.video.frames": 1, "views.video.fps": 3.0}
    folder = saved(runs / "still", dict(supervised=dict(weight=1.0, num_classes=4)), **still)
    network = object_network(str(folder), "float32")
    view = evaluation_model(run_config(localizing)).views["video"]
    assert view.frames > 1
    assert network.seeing("video", view).shapes(("map",))["map"][0] == view.frames
    # But not one that sees movement.
    monkeypatch.setattr(LinearVideo, "by_frame", False)
    with pytest.raises(UsageError, match=f"frames 1, .* this run is video: frames {view.frames}"):
        network.seeing("video", view)


def test_the_config_names_it_and_a_flag_another(localizing, seeing):
    config = run_config(localizing)
    config.eval.object_encoder = str(localizing)
    maps = MapOptions(0.4)
    asked = Asked(protocols=("localization",), maps=maps)
    for further, folder in (({}, localizing), ({"object_encoder": str(seeing)}, seeing)):
        measurement = planned(config, dataclasses.replace(asked, **further))
        assert measurement.maps.objects.teacher.where == f"step 1 of {folder}"
        assert measurement.maps.share == 0.4
    # Without a map to fuse nothing is opened.
    plain = Asked(protocols=("localization",))
    assert planned(config, plain).maps.objects is None
    config.eval.alpha = 0.3
    assert planned(config, plain).maps.share == 0.3
    assert planned(config, plain).maps.objects.teacher.where == f"step 1 of {localizing}"
    assert planned(config, asked).maps.share == 0.4
    # Nor where nothing is localised.
    config.eval.object_encoder = "nowhere"
    assert planned(config, Asked(protocols=("retrieval",))) is not None


def test_maps_are_of_the_clips_as_the_run_sees_them(localizing, seeing):
    """Row by row, whatever is left out."""
    network = object_network(str(seeing), "float32")
    model = evaluation_model(run_config(localizing)).without_draws()
    source, index = open_source(f"{DATA}@test"), np.array([5, 0, 3])
    sides = SimpleNamespace(
        test=SimpleNamespace(index=index), scored=(source, None), workers=0, compiled={}
    )
    found = network.maps("video", model.views["video"], sides)
    teacher = teacher_of_run(str(seeing), "video")
    with evaluation_batches(source, {"video": model.views["video"]}, batch_size=8) as batches:
        pixels = next(batches)["views"]["video"][index] / 255
    encoder = build_encoder("video", teacher.config, jnp.float32)
    weights = {name: teacher.variables[name] for name in ("params", "batch_stats")}
    frontend = build_frontend(teacher.config["frontend"])
    seen = encoder.apply(weights, frontend(jnp.asarray(pixels, jnp.float32)), train=False)
    expected = np.abs(np.asarray(seen.map)).mean(axis=(1, 4))
    share = found / expected  # scaled, which no score sees
    np.testing.assert_allclose(share, share[:, :1, :1].repeat(2, 1).repeat(2, 2), rtol=1e-4)
    # Kept for the next weights, and not for other clips.
    assert network.maps("video", model.views["video"], sides) is found
    sides.test.index = index[::-1]
    np.testing.assert_allclose(network.maps("video", model.views["video"], sides), found[::-1])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["nowhere", "--alpha", 0.4], "nowhere is no run folder"),
        (["{seeing}"], "--object-encoder gives the map that --alpha fuses"),
        (["{larger}", "--alpha", 0.4], "size 24, projection flat, and the view 'video' of this run"),
        (["{seeing}@vidoe", "--alpha", 0.4], "unknown encoder of .* did you mean 'video'"),
        (["{seeing}@audio", "--alpha", 0.4], "of 'audio' of .* on audio: "),
    ],
)  # fmt: skip
def test_what_gives_no_map_is_refused(flags, said, run, localizing, seeing, larger):
    words = [str(word).format(seeing=seeing, larger=larger) for word in flags]
    command = ("evaluate", "--workdir", localizing, "--protocols", "localization")
    code, _, err = run(*command, "--object-encoder", *words)
    assert code == 2
    assert re.search(said, err.splitlines()[-1])


def test_an_encoder_without_maps_and_several_encoders(localizing, seeing, monkeypatch):
    view = evaluation_model(run_config(localizing)).views["video"]
    network = object_network(str(seeing), "float32")
    monkeypatch.setitem(ENCODERS, "linear_video", Blind)
    with pytest.raises(UsageError, match="encoder 'video' has no map"):
        network.seeing("video", view)
    config = run_config(seeing)
    config.encoders.another = config.encoders.video.to_dict()
    monkeypatch.setattr(objects, "run_config", lambda folder: config)
    with pytest.raises(UsageError, match=r"the picture encoders another, video, .* name it as .*@"):
        object_network(str(seeing), "float32")
    del config.encoders.another, config.encoders.video
    with pytest.raises(UsageError, match="has no encoder of pictures"):
        object_network(str(seeing), "float32")
    with pytest.raises(UsageError, match="must be a run folder or None, not 3"):
        object_network(3, "float32")
