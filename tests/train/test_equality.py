"""Every objective gives the same losses and parameters on any devices, in any mode, in micro-batches."""

import jax
import numpy as np
import pytest

from avssl.objectives import OBJECTIVES
from tests.train.small_runs import batches, furthest, small_config, train

NUM_STEPS = 20
PLACES = {
    "mesh of 8": {"devices": 8},
    "fsdp of 4": {"devices": 8, "parallel.fsdp": 4},
    "pmap of 8": {"devices": 8, "parallel.mode": "pmap"},
    "two micro-batches": {"devices": 1, "optimizer.accumulate": 2},
    "two micro-batches on 8": {"devices": 8, "optimizer.accumulate": 2},
    "two micro-batches, pmap": {"devices": 4, "optimizer.accumulate": 2, "parallel.mode": "pmap"},
}


def placed(config, place):
    config = config.copy_and_resolve_references()
    settings = dict(place)
    num_devices = settings.pop("devices")
    config.update_from_flattened_dict(settings)
    return config, num_devices


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_same_losses_and_parameters_everywhere(objective, float64):
    config = small_config(objective)
    data = batches(config, NUM_STEPS)
    losses, state = train(config, data, 1)
    assert np.all(np.isfinite(losses))
    assert losses.std() > 1e-4, "the runs must move, or their equality says nothing"
    for name, place in PLACES.items():
        other_losses, other_state = train(*_swap(config, place, data))
        assert np.max(np.abs(losses - other_losses)) < 1e-9, name
        assert furthest(state.params, other_state.params) < 1e-9, name
        assert furthest(state.batch_stats, other_state.batch_stats) < 1e-9, name
        assert furthest(state.memory, other_state.memory) < 1e-9, name


def _swap(config, place, data):
    config, num_devices = placed(config, place)
    return config, data, num_devices


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_first_gradient_in_float32(objective):
    """With SGD at rate 1 the parameters move by the gradient."""
    config = small_config(objective, precision="float32")
    config.optimizer.learning_rate = 1.0
    data = batches(config, 1)
    start = train(config, [], 1)[1].params
    vectors = {}
    for name, place in {"one device": {"devices": 1}, **PLACES}.items():
        after = train(*_swap(config, place, data))[1].params
        moved = jax.tree.map(lambda a, b: np.ravel(a - b), start, after)
        vectors[name] = np.concatenate(jax.tree.leaves(moved))
    reference = vectors.pop("one device")
    assert np.linalg.norm(reference) > 0
    for name, vector in vectors.items():
        gap = np.linalg.norm(vector - reference) / np.linalg.norm(reference)
        assert gap < 2e-5, (name, gap)


def test_plain_accumulation_would_be_another_loss(float64):
    """The guard of the tests above: halves of the batch on their own give another gradient."""
    config = small_config("xid")
    data = batches(config, 1)
    whole = train(config, data, 1)[0][0]
    half = small_config("xid")
    half.batch_size = config.batch_size // 2
    parts = [
        train(half, [jax.tree.map(lambda leaf, rows=rows: leaf[rows], data[0])], 1)[0][0]
        for rows in (slice(0, None, 2), slice(1, None, 2))
    ]
    assert abs(np.mean(parts) - whole) > 1e-2
