"""LVS: the tri-map loss on what the encoders give, its settings, and the score behind retrieval."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.tri_map import region_cosines, tri_map_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.build_model import build_model
from tests.train.small_runs import small_config

ROWS, HEIGHT, WIDTH, CHANNELS = 6, 3, 4, 5
# What an untrained encoder reaches, so that no weight is 0.
SOFT = {"sounding_from": 0.3, "background_below": 0.1, "softness": 0.2}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


VIDEO, AUDIO = drawn(ROWS, 1, HEIGHT, WIDTH, CHANNELS), drawn(ROWS, CHANNELS, seed=1)


def batch_of():
    """Row 1 has no picture and row 2 no sound; rows 3 and 4 are of one record."""
    rows = jnp.arange(ROWS)
    present = {"video": rows != 1, "audio": rows != 2}
    return {"index": rows.at[4].set(3), "present": present}


def outcome(video, audio, **keys):
    """(loss, metrics, outputs of the heads)"""
    objective = build_objective("lvs", keys)
    features = {
        objective.video_read: Features(jnp.zeros((ROWS, 1)), video),
        objective.audio_read: Features(audio),
    }
    variables = objective.init(jax.random.key(0), features, batch_of(), method="initialise")
    outputs = objective.apply(variables, features, batch_of(), train=True, method="heads")
    found = objective.apply(variables, outputs, batch_of(), train=True)
    return found.loss, found.metrics, outputs


def expected_loss(**settings):
    batch = batch_of()
    present = batch["present"]["video"] & batch["present"]["audio"]
    return tri_map_loss(
        VIDEO.reshape(ROWS, -1, CHANNELS), AUDIO, index=batch["index"], present=present, **settings
    )[0]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        SOFT,
        {**SOFT, "temperature": 0.5},
        {**SOFT, "background": False},
        {**SOFT, "background_below": 0.3},
        {"released_diagonal": True, "temperature": 10.0},
    ],
    ids=str,
)
def test_the_loss_is_the_tri_map_loss_of_what_the_encoders_give(settings):
    loss, metrics, outputs = outcome(VIDEO, AUDIO, **settings)
    np.testing.assert_allclose(loss, expected_loss(**settings), rtol=1e-5)
    assert metrics["num_pairs"] == ROWS - 2
    np.testing.assert_array_equal(outputs["video"], VIDEO.reshape(ROWS, -1))
    if settings:
        assert abs(float(loss - expected_loss())) > 1e-3, "the setting must count"


def test_rows_that_lack_a_modality_learn_nothing():
    gradients = jax.jit(jax.grad(lambda *x: outcome(*x, **SOFT)[0], (0, 1)))(VIDEO, AUDIO)
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))
        assert not np.any(gradient[1:3])
        assert np.all(np.any(gradient[3:].reshape(ROWS - 3, -1), axis=1))


def test_retrieval_goes_by_the_mean_over_the_region_that_sounds():
    objective = build_objective("lvs", SOFT)
    video = VIDEO.reshape(ROWS, -1)
    table = objective.apply({}, video, AUDIO, method="similarity")
    regions, _ = region_cosines(VIDEO.reshape(ROWS, -1, CHANNELS), AUDIO, **SOFT)
    np.testing.assert_allclose(table, regions, rtol=1e-4, atol=1e-6)
    own = objective.apply({}, video, AUDIO, method="row_similarity")
    np.testing.assert_allclose(own, jnp.diagonal(table), rtol=1e-4, atol=1e-6)


def test_encoders_of_unequal_width_are_refused_or_projected():
    wider = drawn(ROWS, CHANNELS + 2, seed=1)
    with pytest.raises(
        UsageError, match=r"lvs compares .* 5 channels .* 7: .* objectives\.lvs\.chann"
    ):
        outcome(VIDEO, wider)
    loss, _, outputs = outcome(VIDEO, wider, channels=4)
    assert outputs["video"].shape == (ROWS, HEIGHT * WIDTH * 4)
    assert outputs["audio"].shape == (ROWS, 4)
    assert np.isfinite(loss)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"softness": 0.0}, r"objectives\.lvs\.softness must be above 0"),
        ({"background_below": 0.7}, r"background_below \(0\.7\) must not be above sounding_from"),
    ],
)
def test_bad_settings_are_refused(keys, said):
    config = small_config("lvs", precision="float32")
    config.objectives.lvs.update(keys)
    with pytest.raises(UsageError, match=said):
        build_model(config)
