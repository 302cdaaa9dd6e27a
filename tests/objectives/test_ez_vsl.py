"""EZ-VSL: the loss is that of `losses/localization.py` on projected maps; what evaluation gets of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from avssl.errors import UsageError
from avssl.losses.localization import multiple_instance_loss, position_cosines
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.build_model import build_model
from tests.train.small_runs import small_config

ROWS, FRAMES, HEIGHT, WIDTH, CHANNELS, HEARD = 6, 2, 3, 4, 5, 7
PROJECTED = 8


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def example_features(objective, video_map, audio):
    return {
        objective.video_read: Features(jnp.zeros((len(audio), 1)), video_map),
        objective.audio_read: Features(audio),
    }


def batch_of(index=range(ROWS)):
    """Row 1 has no picture and row 2 no sound."""
    rows = jnp.arange(len(index))
    present = {"video": rows != 1, "audio": rows != 2}
    return {"index": jnp.asarray(index), "present": present}


def started(video_map, audio, **keys):
    """(objective, features, parameters)"""
    objective = build_objective("ez_vsl", {"channels": PROJECTED, **keys})
    features = example_features(objective, video_map, audio)

    @jax.jit
    def make(key):
        return objective.init(key, features, batch_of(), method="initialise")

    return objective, features, make(jax.random.key(0))


def random_features(frames=(FRAMES,)):
    return drawn(ROWS, *frames, HEIGHT, WIDTH, CHANNELS), drawn(ROWS, HEARD, seed=1)


def heads(objective, variables, features, *, train=True):
    return objective.apply(variables, features, batch_of(), train=train, method="heads")


@pytest.mark.parametrize("frames", [(), (1,), (FRAMES,)])
def test_the_loss_is_that_of_all_positions_projected(frames):
    video_map, audio = random_features(frames)
    objective, features, variables = started(video_map, audio, temperature=0.2)
    outputs = heads(objective, variables, features)
    outcome = objective.apply(variables, outputs, batch_of(), train=True)
    params = variables["params"]
    assert set(params) == {"video_head", "audio_head"}
    video = video_map.reshape(ROWS, -1, CHANNELS) @ params["video_head"]["kernel"]
    sound = audio @ params["audio_head"]["kernel"]
    present = batch_of()["present"]
    expected, metrics = multiple_instance_loss(
        video, sound, temperature=0.2, index=jnp.arange(ROWS),
        present=present["video"] & present["audio"],
    )  # fmt: skip
    np.testing.assert_allclose(outcome.loss, expected, rtol=1e-4)
    assert outcome.metrics["num_pairs"] == metrics["num_pairs"] == ROWS - 2


def test_rows_that_lack_a_modality_learn_nothing_whatever_they_hold():
    video_map, audio = random_features()
    objective, _, variables = started(video_map, audio)

    def loss(video_map, audio):
        features = example_features(objective, video_map, audio)
        outputs = heads(objective, variables, features)
        return objective.apply(variables, outputs, batch_of(), train=True).loss

    whole, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(video_map, audio)
    for gradient in gradients:
        assert not np.any(gradient[1:3])
        assert np.all(np.any(gradient[3:].reshape(ROWS - 3, -1), axis=1))
    changed = loss(video_map.at[1].set(7.0), audio.at[2].set(-7.0))
    np.testing.assert_allclose(changed, whole, rtol=1e-5)


def test_evaluation_gives_the_cosine_of_each_position_with_its_own_sound():
    objective, features, variables = started(*random_features())
    assert set(heads(objective, variables, features)) == {"video", "audio"}
    outputs = heads(objective, variables, features, train=False)
    video = outputs["video"].reshape(ROWS, -1, PROJECTED)
    own = jnp.diagonal(position_cosines(video, outputs["audio"])).T
    expected = own.reshape(ROWS, FRAMES, HEIGHT, WIDTH).mean(axis=1)
    assert outputs["video_map"].shape == (ROWS, HEIGHT, WIDTH)
    np.testing.assert_allclose(outputs["video_map"], expected, rtol=1e-4, atol=1e-6)


def test_retrieval_goes_by_the_best_position():
    objective, features, variables = started(*random_features())
    outputs = heads(objective, variables, features)
    video, audio = outputs["video"], outputs["audio"][:4]
    table = objective.apply(variables, video, audio, method="similarity")
    cosines = position_cosines(video.reshape(ROWS, -1, PROJECTED), audio)
    assert table.shape == (ROWS, 4)
    np.testing.assert_allclose(table, cosines.max(axis=2), rtol=1e-4)
    own = objective.apply(variables, video[:4], audio, method="row_similarity")
    np.testing.assert_allclose(own, jnp.diagonal(table), rtol=1e-4)


def test_without_projections_the_encoders_are_compared():
    video_map, audio = drawn(ROWS, HEIGHT, WIDTH, CHANNELS), drawn(ROWS, CHANNELS, seed=1)
    objective, features, variables = started(video_map, audio, channels=0)
    assert not variables.get("params")
    outputs = heads(objective, variables, features)
    np.testing.assert_array_equal(outputs["video"], video_map.reshape(ROWS, -1))
    np.testing.assert_array_equal(outputs["audio"], audio)


def test_what_cannot_be_compared_is_refused():
    video_map, audio = random_features()
    with pytest.raises(
        UsageError, match=r"ez_vsl compares what .* 5 channels .* 7: .*ez_vsl\.channels"
    ):
        started(video_map, audio, channels=0)
    with pytest.raises(UsageError, match=r"ez_vsl needs the map of the encoder 'video'"):
        started(None, audio)
    config = small_config("ez_vsl", precision="float32")
    config.objectives.ez_vsl.channels = -1
    with pytest.raises(UsageError, match=r"objectives\.ez_vsl\.channels must be at least 0"):
        build_model(config)


def test_a_sound_finds_its_position():
    """One of twelve positions holds what is heard, the others hold noise, drawn anew at each step."""
    num, classes, width = 64, 8, 16
    generator = np.random.default_rng(0)
    looks, sounds = (jnp.asarray(generator.normal(size=(classes, d))) for d in (width, HEARD))
    objective = build_objective("ez_vsl", {"channels": PROJECTED, "temperature": 0.1})
    optimizer = optax.adam(1e-2)

    def clips(key):
        """(features, batch, where the sounding object is)"""
        keys = jax.random.split(key, 3)
        which = jax.random.randint(keys[0], (num,), 0, classes)
        place = jax.random.randint(keys[1], (num,), 0, HEIGHT * WIDTH)
        video = jax.random.normal(keys[2], (num, HEIGHT * WIDTH, width))
        video = video.at[jnp.arange(num), place].set(2 * looks[which])
        features = example_features(
            objective, video.reshape(num, HEIGHT, WIDTH, width), sounds[which]
        )
        # Clips of one class are one record: they are no negatives of each other.
        present = {name: jnp.ones(num, bool) for name in ("video", "audio")}
        return features, {"index": which, "present": present}, place

    def loss(params, key):
        features, batch, _ = clips(key)
        outputs = objective.apply({"params": params}, features, batch, train=True, method="heads")
        return objective.apply({"params": params}, outputs, batch, train=True).loss

    @jax.jit
    def trained(key):
        features, batch, _ = clips(key)
        params = objective.init(key, features, batch, method="initialise")["params"]

        def step(carried, key):
            params, state = carried
            value, gradient = jax.value_and_grad(loss)(params, key)
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), value

        start = params, optimizer.init(params)
        (params, _), losses = jax.lax.scan(step, start, jax.random.split(key, 400))
        return params, losses

    params, losses = trained(jax.random.key(0))
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:20])
    features, batch, place = clips(jax.random.key(1))
    outputs = objective.apply({"params": params}, features, batch, train=False, method="heads")
    found = np.asarray(outputs["video_map"]).reshape(num, -1).argmax(axis=1)
    assert np.mean(found == place) > 0.8, "chance is 1 of 12"
