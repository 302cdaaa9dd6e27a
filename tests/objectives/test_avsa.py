"""AVSA: its stages, the views it refuses, and scores between viewpoints."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.signal.ambisonics import rotate_to_view, viewing_angles
from avssl.train.build_model import build_model
from tests.train.small_runs import small_config

PANORAMA = VideoView(projection="sphere", flip=False)
VIEWS = {
    "video": PANORAMA,
    "viewpoints": dataclasses.replace(PANORAMA, windows=4),
    "audio": AudioView(channels=4),
}


def at_step(step: int | None, **keys):
    return build_objective("avsa", {"weight": 1.0, **keys}, 100, step)


def test_stages_read_one_viewpoint_and_then_several():
    first, second = (at_step(step, alignment_from_step=300) for step in (299, 300))
    assert {read.toward or read.view for read in first.reads()} == {"video"}
    assert {read.toward or read.view for read in second.reads()} == {"viewpoints"}
    whole = at_step(None, alignment_from_step=300)
    assert set(whole.reads()) == {*first.reads(), *second.reads()}


@pytest.mark.parametrize(
    ("name", "view", "said"),
    [
        ("video", VideoView(), "views.video.projection=sphere"),
        ("viewpoints", PANORAMA, "views.viewpoints.windows to 2"),
        ("audio", AudioView(), "views.audio.channels=4"),
    ],
)
def test_views_without_directions_are_refused(name, view, said):
    with pytest.raises(UsageError, match=said):
        at_step(None).views({**VIEWS, name: view})


@pytest.mark.parametrize("official", [False, True], ids=["exact", "official"])
def test_each_viewpoint_hears_the_sound_turned_to_it(official):
    config = small_config("avsa", precision="float32")
    config.objectives.avsa.official_rotation = official
    model = build_model(config)
    read = model.objectives["avsa"].heard("viewpoints")
    batch, random = model.example_batch(2), np.random.default_rng(0)
    sounds = random.integers(-9000, 9000, batch["views"]["audio"].shape)
    directions = random.uniform(size=batch["geometry"]["viewpoints"]["direction"].shape)
    batch["views"]["audio"] = jnp.asarray(sounds, jnp.int16)
    batch["geometry"]["viewpoints"]["direction"] = jnp.asarray(directions, jnp.float32)
    heard = model.inputs(read, batch, None)

    waveforms = jnp.asarray(sounds / 32768, jnp.float32)
    expected = [
        rotate_to_view(waveform, *viewing_angles(jnp.asarray(one)), official_order=official)
        for waveform, directions_of_clip in zip(waveforms, directions, strict=True)
        for one in directions_of_clip
    ]
    spectra = model.frontends["audio"](jnp.stack(expected), rate=config.views.audio.rate)
    np.testing.assert_allclose(heard, spectra, atol=1e-3)


@pytest.mark.parametrize("transformers", [False, True])
def test_each_prediction_is_made_of_the_other_modality_and_sought_in_its_own(transformers):
    objective, random = at_step(0, transformers=transformers), np.random.default_rng(0)
    batch = {
        "index": jnp.arange(4),
        "row": jnp.arange(4),
        "present": dict.fromkeys(VIEWS, jnp.ones(4, bool)),
    }
    reads = {"video": objective.seen("viewpoints"), "audio": objective.heard("viewpoints")}
    first, second = (
        {side: Features(jnp.asarray(random.normal(size=(4, 3, 8)), jnp.float32)) for side in reads}
        for _ in range(2)
    )
    made = objective.init(
        jax.random.key(0), {reads[side]: first[side] for side in reads}, batch, method="initialise"
    )

    def outputs(**sides):
        features = {reads[side]: features for side, features in {**first, **sides}.items()}
        return objective.apply(made, features, batch, train=False, method="heads")

    plain = outputs()
    for side, of_side in (
        ("video", {"video_views", "audio_guess"}),
        ("audio", {"audio_views", "video_guess"}),
    ):
        found = outputs(**{side: second[side]})
        assert {name for name in found if not np.allclose(found[name], plain[name])} == of_side
    right = {**plain, "video_guess": plain["video_views"], "audio_guess": plain["audio_views"]}
    metrics = objective.apply(made, right, batch, train=False).metrics
    for direction in ("audio_to_video", "video_to_audio"):
        assert metrics[f"{direction}_clip_top1"] == metrics[f"{direction}_viewpoint_top1"] == 1.0


def test_modes_and_transformers_are_flags():
    def traced(**keys):
        """Names of the metrics, and of the parameters, without a number computed."""
        config = small_config("avsa", precision="float32")
        config.objectives.avsa.update(keys)
        model = build_model(config, 0)
        variables = {**jax.eval_shape(lambda: model.init(jax.random.key(0))), "ema": {}}
        batch = model.example_batch(4)

        def losses(variables):
            key = jax.random.key(0)
            outputs, _ = model.encode(variables, batch, key, train=True)
            return model.loss(variables, outputs, batch, key, train=True)

        _, (metrics, _) = jax.eval_shape(losses, variables)
        kinds = {name.removeprefix("avsa/audio_to_video_") for name in metrics}
        return kinds & {"clip_top1", "viewpoint_top1"}, variables["params"]["objectives"]["avsa"]

    assert traced()[0] == {"clip_top1", "viewpoint_top1"}
    assert traced(mode="hard")[0] == {"viewpoint_top1"}
    assert traced(mode="avc")[0] == {"clip_top1"}
    assert {"video_to_audio", "audio_to_video"} <= traced()[1].keys()
    assert not {"video_to_audio", "audio_to_video"} & traced(transformers=False)[1].keys()


def test_viewpoint_scores_are_cosines_between_the_viewpoints_of_a_clip():
    random = np.random.default_rng(0)
    each = jnp.asarray(random.standard_normal((5, 4, 6)), jnp.float32)
    names = ("video_each", "audio_each", "video_views", "audio_views", "video_guess", "audio_guess")
    scores = at_step(None).viewpoint_scores(dict.fromkeys(names, each))
    assert scores.keys() == {"contrast", "viewpoint"}
    for matrix in scores.values():
        assert matrix.shape == (5, 4, 4)
        np.testing.assert_allclose(np.diagonal(matrix, axis1=1, axis2=2), 1.0, rtol=1e-5)
        assert np.abs(matrix).max() <= 1 + 1e-5


@pytest.mark.parametrize(
    ("alignment_from_step", "kinds", "ranks"),
    [(0, {"viewpoint"}, False), (30, {"contrast", "viewpoint"}, True), (60, {"contrast"}, True)],
)
def test_an_evaluation_shows_only_what_the_run_trains(alignment_from_step, kinds, ranks):
    config = small_config("avsa", precision="float32")
    config.steps = 60
    config.objectives.avsa.alignment_from_step = alignment_from_step
    model = build_model(config)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    variables = {**variables, "ema": variables["params"]}
    # Whatever is shown, checkpoints hold both stages.
    heads = {
        f"{side}_{use}" for side in ("video", "audio") for use in ("contrast", "target", "guess")
    }
    assert heads <= variables["params"]["objectives"]["avsa"].keys()

    def scores(variables):
        batch = model.example_batch(3)
        outputs = model.encode(variables, batch, jax.random.key(0), train=False)[0]["avsa"]
        assert (model.objectives["avsa"].joint(outputs) is not None) == ranks
        return model.objectives["avsa"].viewpoint_scores(outputs)

    assert jax.eval_shape(scores, variables).keys() == kinds
