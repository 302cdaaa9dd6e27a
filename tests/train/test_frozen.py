"""A frozen encoder is still: parameters, BatchNorm, dropout; the same on any devices, with rates by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.train.build_model import build_model, evaluation_model
from avssl.train.model import purpose_key
from tests.train.small_runs import batches, furthest, small_config, start_on_host, train
from tests.train.test_equality import assert_same


def config_of(**optimizer):
    config = small_config("classify", "xid")
    config.objectives.classify.modalities = ("video", "audio")
    config.objectives.classify.dropout = 0.3
    with config.optimizer.unlocked():
        config.optimizer.update(optimizer)
    return config


@pytest.fixture(scope="module")
def frozen_run():
    """(the config, the start, the end) of some steps with the picture's encoder frozen, the sound's in part."""
    with jax.enable_x64(True):
        config = config_of(frozen=("^encoders/video/", "^encoders/audio/.*/linear/kernel"))
        start = start_on_host(config)
        losses, end = train(config, batches(config, 3), 8, start)
    assert np.all(np.isfinite(losses))
    return config, start, end


def test_frozen_parameters_stay_bit_for_bit(frozen_run):
    _, start, end = frozen_run
    assert furthest(start.params["encoders"]["video"], end.params["encoders"]["video"]) == 0
    one, other = (state.params["encoders"]["audio"]["patches"] for state in (start, end))
    assert furthest(one["linear"]["kernel"], other["linear"]["kernel"]) == 0
    assert furthest(one["norm"], other["norm"]) > 0
    assert furthest(start.params["objectives"], end.params["objectives"]) > 0


def test_running_statistics_of_a_frozen_encoder_are_not_updated(frozen_run):
    _, start, end = frozen_run
    still, moved = (
        furthest(start.batch_stats["encoders"][name], end.batch_stats["encoders"][name])
        for name in ("video", "audio")
    )
    assert still == 0
    assert moved > 0, "of one that is frozen in part they are"


def test_a_frozen_encoder_runs_as_in_evaluation(frozen_run):
    """With running statistics and without dropout; its augmentations go on."""
    with jax.enable_x64(True):
        config, start, _ = frozen_run
        model = build_model(config)
        variables, batch = jax.tree.map(jnp.asarray, (start.variables(), batches(config, 1)[0]))
        read = next(read for read in model.reads if read.encoder == "video")
        key = purpose_key(jax.random.key(0), "step")
        in_training = model.features(variables, batch, key, train=True)[0][read].embedding
        encoder = model.encoders["video"]
        shown = model.inputs(read, batch, key)
        expected = encoder.apply(
            {
                "params": variables["params"]["encoders"]["video"],
                "batch_stats": variables["batch_stats"]["encoders"]["video"],
            },
            shown, train=False, rows=batch["row"],
        ).embedding  # fmt: skip
        np.testing.assert_allclose(in_training, expected, rtol=1e-12)
        assert not evaluation_model(config).frozen


@pytest.mark.slow
def test_the_same_on_any_devices(float64):
    config = config_of(frozen=("^encoders/audio/",), layer_decay=0.5, head_warmup_steps=1)
    with config.views.audio.unlocked():
        config.views.audio.update(time_masks=(2, 0.3), frequency_masks=(1, 0.5))
    places = {
        "one device": {"devices": 1},
        "mesh of 8": {"devices": 8},
        "pmap of 8": {"devices": 8, "parallel.mode": "pmap"},
    }
    assert_same(config, batches(config, 4), places)
