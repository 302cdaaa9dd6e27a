"""Objectives of pairs take all of a batch part by part, in a part of the memory."""

import jax
import jax.numpy as jnp
import pytest

from avssl.objectives.avc import Avc
from avssl.objectives.ave import Ave
from avssl.objectives.avts import Avts

BATCH, WIDTH = 256, 64


@pytest.mark.parametrize(
    ("kind", "keys"), [(Avc, {"hidden": WIDTH}), (Ave, {}), (Avts, {"hard_fraction": 0.0})]
)
def test_blocks_hold_a_part_of_the_pairs(kind, keys):
    rows = jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.float32)
    there = jnp.ones(BATCH, bool)
    batch = {"index": jnp.arange(BATCH), "present": {"video": there, "audio": there}}
    rngs = {"params": jax.random.key(0), "draw": jax.random.key(1)}

    def needed(blocks):
        objective = kind(all_negatives=True, blocks=blocks, **keys)
        outputs = {"video": rows, "audio": rows}
        made = jax.eval_shape(lambda out: objective.init(rngs, out, batch, train=True), outputs)

        def loss(made, outputs):
            return objective.apply(made, outputs, batch, train=True, rngs=rngs).loss

        compiled = jax.jit(jax.grad(loss, argnums=1)).lower(made, outputs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    whole = needed(None)
    assert whole > 4 * BATCH**2 * WIDTH
    assert needed(16) < whole / 8
