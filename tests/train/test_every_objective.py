"""Every objective goes on from its checkpoint bit for bit, and learns in bfloat16 what it learns in float32."""

import jax
import numpy as np
import pytest

from avssl.train.checkpoint import Checkpoints
from tests.train.small_runs import Trainer, batches, furthest, small_config, start_on_host
from tests.train.test_equality import TOGETHER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
EVERY = pytest.mark.parametrize("objectives", TOGETHER.values(), ids=TOGETHER)


@EVERY
def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits(objectives, tmp_path):
    config = small_config(*objectives, precision="float32")
    config.optimizer.learning_rate = 1e-4
    data = batches(config, 6)
    trainer, start = Trainer(config, 2), start_on_host(config)
    _, whole = trainer.train(trainer.placed(start), data)
    _, half = trainer.train(trainer.placed(start), data[:3])
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(3, half.items(), {})
        checkpoints.wait()
        restored = start.with_items(checkpoints.restore(3, trainer.placed(start).items()))
    _, resumed = trainer.train(restored, data[3:])
    jax.tree.map(np.testing.assert_array_equal, resumed.items(), whole.items())
    assert furthest(half.params["encoders"], whole.params["encoders"]) > 0


@EVERY
def test_losses_in_bfloat16_are_those_of_float32(objectives):
    """Parameters stay float32; before the first update both compute the same function."""
    losses = {}
    for precision in ("float32", "bf16"):
        config = small_config(*objectives, precision=precision)
        config.optimizer.learning_rate = 1e-4
        told, state = Trainer(config, 1).train(start_on_host(config), batches(config, 2))
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}
        losses[precision] = [{n: float(logs[f"{n}/loss"]) for n in objectives} for logs in told]
    assert all(np.isfinite(value) for logs in losses["bf16"] for value in logs.values())
    found = {n: (losses["bf16"][0][n], losses["float32"][0][n]) for n in objectives}
    far = {n: pair for n, pair in found.items() if abs(pair[0] - pair[1]) > 0.05 * abs(pair[1])}
    assert not far
