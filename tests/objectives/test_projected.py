"""Contrastive objectives: heads as published, or normalised; the batch compared at once, or in blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.objectives import OBJECTIVES
from avssl.objectives.projected import ProjectedObjective
from avssl.objectives.xid import Xid

CONTRASTIVE = [name for name, cls in OBJECTIVES.items() if issubclass(cls, ProjectedObjective)]


def test_who_has_such_heads():
    assert {"xid", "robust_xid", "avid", "cma", "avts", "ave"} <= set(CONTRASTIVE)


@pytest.mark.parametrize("norm_heads", [False, True])
def test_normalised_heads_set_nearly_equal_vectors_apart(norm_heads):
    objective = Xid(projection=(16, 8), norm_heads=norm_heads)
    generator = np.random.default_rng(0)
    # As fresh encoders give them: a common part far larger than what differs.
    rows = jnp.asarray(5 + 0.1 * generator.standard_normal((32, 12)), jnp.float32)
    features = {read: Features(rows) for read in objective.reads()}
    there = jnp.ones(32, bool)
    batch = {"index": jnp.arange(32), "present": {"video": there, "audio": there}}
    made = objective.init(jax.random.key(0), features, batch, method="initialise")
    outputs, _ = objective.apply(
        made, features, batch, train=True, method="heads", mutable=["batch_stats"]
    )
    unit = outputs["video"] / np.linalg.norm(outputs["video"], axis=1, keepdims=True)
    mean_cosine = np.mean((unit @ unit.T)[~np.eye(32, dtype=bool)])
    assert mean_cosine < 0 if norm_heads else mean_cosine > 0.99
    assert ("batch_stats" in made) == norm_heads


def test_blocks_of_the_batch_change_nothing_and_must_divide_it():
    generator = np.random.default_rng(1)
    outputs = {
        name: jnp.asarray(generator.standard_normal((12, 8)), jnp.float32)
        for name in ("video", "audio")
    }
    there = jnp.ones(12, bool)
    batch = {"index": jnp.arange(12), "present": {"video": there, "audio": there}}

    def outcome(blocks: int):
        return Xid(blocks=blocks).apply({}, outputs, batch, train=True)

    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(other, one, rtol=1e-6), outcome(1), outcome(3)
    )
    with pytest.raises(UsageError, match=r"objectives.xid.blocks is a divisor of the batch of 12"):
        outcome(5)
