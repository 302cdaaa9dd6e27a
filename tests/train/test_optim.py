"""Optimisers by name, schedules, weight decay and rules by parameter path."""

import itertools

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from avssl.config import base
from avssl.errors import UsageError
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
