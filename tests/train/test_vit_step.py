"""Vision transformers in the step: a scan with patches left out gives one device's numbers on any mesh."""

import jax
import numpy as np
import pytest

from avssl.config import resolve
from avssl.plan.estimate import estimate, lay_out
from avssl.plan.topology import find_topology
from tests.train.small_runs import batches, furthest, small_config, start_on_host, train

PLACES = {"a mesh of 8": (8, 1), "fsdp of 4": (8, 4)}


def vit_config(precision="float64"):
    config = small_config("xid", precision=precision)
    fields = dict(size="tiny", patch_drop=0.5, drop_path=0.2, remat="full", scan=True)
    for name, patch in (("video", (1, 4, 4)), ("audio", (4, 4))):
        old = config.encoders[name]
        config.encoders[name] = dict(
            name=f"vit_{name}", modality=name, patch=patch, frontend=old.frontend.to_dict(), **fields
        )  # fmt: skip
    return resolve(config)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("float64")
def test_a_scan_with_dropped_patches_is_the_same_on_any_mesh():
    config = vit_config()
    data, start = batches(config, 4), start_on_host(config)
    losses, state = train(config, data, 1, start)
    assert losses.std() > 1e-4
    for name, (num_devices, fsdp) in PLACES.items():
        config.parallel.fsdp = fsdp
        other_losses, other = train(config, data, num_devices, start)
        assert np.max(np.abs(losses - other_losses)) < 1e-9, name
        assert furthest(state.params, other.params) < 1e-9, name
    stacked = [leaf for leaf in jax.tree.leaves(start.params) if leaf.ndim == 3]
    assert stacked, "the blocks must be a scan"


@pytest.mark.slow
def test_a_scan_sends_its_parameters_and_not_the_batch():
    config = vit_config(precision="float32")
    config.views.video.size = 32
    config.parallel.fsdp = 8
    sent = []
    for batch_size in (16, 64):
        config.batch_size = batch_size
        work = estimate(lay_out(config, find_topology("cpu:8"))).work
        assert work is not None
        sent.append(work.bytes_sent)
    # What is left of it is the outputs that are compared, and the sounds of a transform on CPUs.
    assert sent[1] < 2 * sent[0]
