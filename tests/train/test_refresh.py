"""Runs that recompute labels from all clips: stopped after a refresh or at one, they go on exactly."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from avssl.bench.step import random_batch
from avssl.train import refresh
from avssl.train.build_model import build_model
from avssl.train.run import build_setup, fresh_state
from tests.train.command_line import assert_identical, final_state
from tests.train.small_runs import small_config

XDC = (
    "objectives.xdc.num_clusters=4", "objectives.xdc.refresh_every_steps=3",
    "objectives.xdc.norm_warmup_steps=1",
)  # fmt: skip
SELAVI = (
    "objectives.selavi.num_clusters=4", "objectives.selavi.num_heads=2",
    "objectives.selavi.head_width=8", "objectives.selavi.schedule_steps=8",
    "objectives.selavi.num_solves=4", "objectives.selavi.norm_warmup_steps=1",
)  # fmt: skip


# XDC clusters at 1, 4 and 7; the solves of SeLaVi are at 1, 3, 4, 5, 7.
@pytest.mark.parametrize(("keys", "stop"), [(XDC, 4), (SELAVI, 6)], ids=["xdc", "selavi"])
def test_a_run_that_stopped_goes_on_to_the_same_bits(keys, stop, pretrain, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    keys = ("objectives.xid.weight=0", *keys)
    assert pretrain(*keys, "steps=8", workdir=whole)[0] == 0
    assert pretrain(*keys, f"steps={stop}", workdir=broken)[0] == 0
    code, said, _ = pretrain(*keys, "steps=8", workdir=broken)
    assert code == 0
    assert f"checkpoint of step {stop}" in said
    assert_identical(broken, whole)
    labels = {name: x for name, x in final_state(whole)[1].items() if name.endswith("labels")}
    assert labels
    assert all(x.min() >= 0 and x.max() > 0 for x in labels.values())


def test_a_request_in_a_pass_over_the_data_drops_it_and_the_next_start_repeats_it(
    pretrain, tmp_path, monkeypatch
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    keys = ("objectives.xid.weight=0", *XDC, "steps=5")
    assert pretrain(*keys, workdir=whole)[0] == 0
    passes, filled = [], refresh.filled

    def asked(table, found, index, mask):
        if len(passes) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return filled(table, found, index, mask)

    def counted(self, *arguments):
        passes.append(arguments[0])
        return with_pass(self, *arguments)

    with_pass = refresh.Refresher.with_pass
    with monkeypatch.context() as patched:
        patched.setattr(refresh, "filled", asked)
        patched.setattr(refresh.Refresher, "with_pass", counted)
        code, said, told = pretrain(*keys, workdir=broken)
    assert code == 75
    assert f"stopped on request after step {passes[1]};" in told
    assert f"step {passes[1]}: refreshed" not in said
    assert pretrain(*keys, workdir=broken)[0] == 0
    assert_identical(broken, whole)


@pytest.mark.parametrize(("name", "draws"), [("selavi", True), ("xdc", False)])
def test_a_pass_that_draws_sees_other_colours_each_time_and_of_each_record(
    name, draws, monkeypatch
):
    """Two passes over the same pixels and samples, in which two records are alike."""
    config = small_config(name, precision="float32")
    model = build_model(config)
    setup = build_setup(config, model)
    batch = random_batch(model, config.batch_size)
    batch["mask"] = np.ones(config.batch_size, bool)
    for array in batch["views"].values():
        array[1] = array[0]
    monkeypatch.setattr(refresh, "evaluation_batches", lambda *_, **__: iter([batch]))
    nothing: Any = None
    refresher = refresh.Refresher(
        model, config, nothing, batch["index"], setup.mesh, setup.shardings, lambda: False
    )
    state = fresh_state(setup)
    passes = [refresher.collect(step, state, [name], draws)[0][name] for step in (3, 3, 5)]
    first, again, later = (jax.device_get(kept) for kept in passes)
    for view in ("video", "audio"):
        np.testing.assert_array_equal(first[view], again[view])
        assert np.allclose(first[view], later[view]) != draws
        assert np.allclose(first[view][0], first[view][1]) != draws


def test_tags_that_a_source_ignores_are_not_known():
    truths: list[Any] = [
        {"classes": ["dog"], "ignored": ["cat"]},
        {},
        {"classes": []},
        {"classes": []},
    ]
    source: Any = SimpleNamespace(
        label_names=("cat", "dog"), labels=lambda: np.full(4, -1), truth=truths.__getitem__
    )
    config: Any = SimpleNamespace(data=SimpleNamespace(num_records=4))
    nothing: Any = None
    refresher = refresh.Refresher(
        nothing, config, source, np.array([0, 1, 2]), nothing, nothing, nothing
    )
    assert refresher.tags()["tags"].tolist() == [[-1, 1], [-1, -1], [0, 0], [-1, -1]]
