"""Optimisers by name, schedules, weight decay and rules by parameter path."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from avssl.config import base
from avssl.errors import UsageError
from avssl.train.mesh import path_name
from avssl.train.optim import OPTIMIZERS, build_optimizer, schedule_of

PARAMS = {"encoder": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones((3,))}, "head": jnp.ones((3, 2))}
ZEROS = {
    "encoder": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros((3,))},
    "head": jnp.zeros((3, 2)),
}


def settings(**changes):
    config = base().optimizer
    config.schedule = "constant"
    with config.unlocked():
        config.update(changes)
    return config


def updated(config, gradients=PARAMS):
    optimizer = build_optimizer(config, 10)
    updates, _ = optimizer.update(gradients, optimizer.init(PARAMS), PARAMS)
    return optax.apply_updates(PARAMS, updates)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_name_takes_a_step(name):
    after = updated(settings(name=name, weight_decay=0.1))
    assert np.all(np.isfinite(after["head"]))
    assert np.all(after["head"] != PARAMS["head"])


@pytest.mark.parametrize(("name", "expected"), [("adamw", 0.95), ("sgd", 0.95)])
def test_decay_is_for_kernels_alone(name, expected):
    after = updated(settings(name=name, weight_decay=0.5, learning_rate=0.1), ZEROS)
    np.testing.assert_allclose(after["encoder"]["kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(after["encoder"]["bias"], 1.0)


def test_decay_of_adam_goes_through_its_moments_as_in_pytorch():
    after = updated(settings(name="adam", weight_decay=0.5, learning_rate=0.1), ZEROS)
    np.testing.assert_allclose(after["encoder"]["kernel"], 0.9, rtol=1e-4)


def test_rules_by_path():
    rules = (("^encoder/", {"learning_rate": 0.1}), ("head", {"weight_decay": 1.0}))
    config = settings(name="sgd", learning_rate=0.5, weight_decay=0.0, rules=rules)
    after = updated(config, PARAMS)
    np.testing.assert_allclose(after["encoder"]["kernel"], 1 - 0.05, rtol=1e-6)
    np.testing.assert_allclose(after["head"], 1 - 0.5 * 2, atol=1e-6)


def test_clipping_is_by_the_norm_of_all_gradients():
    after = updated(settings(name="sgd", learning_rate=1.0, clip_norm=0.1))
    moved = np.concatenate([np.ravel(1 - np.asarray(leaf)) for leaf in (
        after["encoder"]["kernel"], after["encoder"]["bias"], after["head"])])  # fmt: skip
    assert np.linalg.norm(moved) == pytest.approx(0.1, rel=1e-4)


def test_schedules():
    config = settings(learning_rate=1.0, warmup_steps=4, schedule="cosine")
    rates = [float(schedule_of(config, 20)(step)) for step in range(20)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0], rtol=1e-6)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))
    assert rates[-1] < 0.02
    assert float(schedule_of(settings(learning_rate=0.3), 20)(19)) == pytest.approx(0.3)


def test_warmup_longer_than_the_run_is_refused():
    with pytest.raises(UsageError, match="warmup_steps"):
        schedule_of(settings(warmup_steps=20), 20)


@pytest.mark.parametrize("rule", ["encoder", ("(", {}), ("a", {"lr": 1.0}), ("a", 3)])
def test_a_wrong_rule_is_refused(rule):
    with pytest.raises(UsageError, match=r"optimizer\.rules"):
        build_optimizer(settings(rules=(rule,)), 10)


TREE = {
    "encoders": {
        "video": {"stem": {"kernel": jnp.ones((2, 2))}, "layer1": {"kernel": jnp.ones((2, 2))}},
        "audio": {"layer1": {"kernel": jnp.ones((2, 2))}, "layer2": {"bias": jnp.ones(2)}},
    },
    "objectives": {"head": jnp.ones((2, 2))},
}
KINDS = {"video": "small_video", "audio": "small_audio", "unused": "conv2d10"}


def steps_of(config, number=1, gradients=TREE, kinds=KINDS):
    """The parameters after each step, beginning with the initial ones; and the state."""
    optimizer = build_optimizer(config, 10, kinds)
    params, state, seen = TREE, optimizer.init(TREE), [TREE]
    for _ in range(number):
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen, state


def test_rates_fall_by_depth():
    rules = (("audio/layer2", {"learning_rate": 3.0}),)
    config = settings(name="sgd", learning_rate=0.1, layer_decay=0.5, rules=rules)
    after = steps_of(config)[0][-1]
    moved = jax.tree.map(lambda leaf: float(1 - leaf.ravel()[0]) / 0.1, after)
    assert moved["objectives"]["head"] == pytest.approx(1.0, rel=1e-5)
    video, audio = moved["encoders"]["video"], moved["encoders"]["audio"]
    assert video["layer1"]["kernel"] == pytest.approx(0.5, rel=1e-5)
    assert video["stem"]["kernel"] == pytest.approx(0.25, rel=1e-5)
    assert audio["layer2"]["bias"] == pytest.approx(3 * 0.5, rel=1e-5)
    assert audio["layer1"]["kernel"] == pytest.approx(0.25, rel=1e-5)


def test_an_encoder_whose_layers_nobody_knows_is_refused():
    config = settings(layer_decay=0.5)
    with pytest.raises(
        UsageError, match=r"layer_decay .* 'small_detector_video' .*'layer1/kernel'"
    ):
        steps_of(config, kinds={**KINDS, "video": "small_detector_video"})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_encoders_wait_for_the_heads(name):
    config = settings(name=name, learning_rate=0.1, weight_decay=0.1, head_warmup_steps=2)
    seen, _ = steps_of(config, 3)
    for before, after in itertools.pairwise(seen):
        assert np.all(before["objectives"]["head"] != after["objectives"]["head"])
    for early in seen[1:3]:
        for leaf in jax.tree.leaves(early["encoders"]):
            np.testing.assert_array_equal(leaf, 1.0)
    assert all(np.all(leaf != 1.0) for leaf in jax.tree.leaves(seen[3]["encoders"]))


def test_frozen_parameters_have_neither_updates_nor_moments():
    config = settings(weight_decay=0.1, frozen=("^encoders/audio/", "stem"))
    seen, state = steps_of(config, 2)
    after = seen[-1]["encoders"]
    for leaf in (*jax.tree.leaves(after["audio"]), after["video"]["stem"]["kernel"]):
        np.testing.assert_array_equal(leaf, 1.0)
    assert np.all(after["video"]["layer1"]["kernel"] != 1.0)
    kept = [path_name(path) for path, leaf in jax.tree_util.tree_leaves_with_path(state)]
    assert any("video/layer1" in path for path in kept)
    assert not any("audio" in path or "stem" in path for path in kept)


def test_what_freezes_nothing_or_everything_is_refused():
    with pytest.raises(UsageError, match="'encoders/vidoe' is found in the path of no parameter"):
        steps_of(settings(frozen=("encoders/vidoe",)))
    with pytest.raises(UsageError, match="leaves nothing to train"):
        steps_of(settings(frozen=("encoders", "head")))
    with pytest.raises(UsageError, match="head_warmup_steps=10 leaves nothing of steps=10"):
        steps_of(settings(head_warmup_steps=10))
