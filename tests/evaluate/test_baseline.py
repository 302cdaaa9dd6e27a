"""The statistics of the random baseline are those of the training batches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.evaluate.baseline import random_variables
from avssl.models.norm import BatchNorm


class Norms(nn.Module):
    """One that is passed once, one twice in a step, and one that no training step meets."""

    @nn.compact
    def __call__(self, rows, train):
        once, twice, never = (BatchNorm(name=name) for name in ("once", "twice", "never"))
        once(rows, train=train), twice(rows, train=train), twice(3.0 * rows, train=train)
        if not train:
            never(rows, train=False)


class NormModel:
    def init(self, key):
        return {"params": {}, **Norms().init(key, jnp.zeros((4, 2)), False)}

    def encode(self, variables, batch, key, train):
        weights = {name: variables[name] for name in ("params", "batch_stats")}
        _, changed = Norms().apply(weights, batch, train, mutable=["batch_stats"])
        return None, changed["batch_stats"]


@pytest.mark.parametrize("scale", [1e-2, 1e2])
def test_each_pass_over_a_norm_counts(scale: float):
    batches = scale * np.random.default_rng(0).normal(2.0, 1.0, (3, 64, 2)).astype(np.float32)
    found = jax.device_get(random_variables(NormModel(), 0, batches)["batch_stats"])
    mean, var = batches.mean(axis=1).mean(axis=0), batches.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(found["once"]["mean"], mean, rtol=1e-4)
    np.testing.assert_allclose(found["once"]["var"], var, rtol=1e-4)
    # Of two passes in a step the first is worth 0.9 of the second.
    np.testing.assert_allclose(found["twice"]["mean"], mean * (0.9 + 3.0) / 1.9, rtol=1e-4)
    np.testing.assert_allclose(found["twice"]["var"], var * (0.9 + 9.0) / 1.9, rtol=1e-4)
    np.testing.assert_array_equal(found["never"]["mean"], 0.0)
    np.testing.assert_array_equal(found["never"]["var"], 1.0)
