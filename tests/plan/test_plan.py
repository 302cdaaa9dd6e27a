"""`avssl plan` on simulated devices, and on a slice of a pod where libtpu is there to compile for it."""

import dataclasses
import importlib.util
import re
from functools import partial

import jax
import pytest

from avssl.config import load_config, override, resolve
from avssl.errors import AvsslError, UsageError
from avssl.models.transformer import Blocks
from avssl.plan.chips import CHIPS
from avssl.plan.estimate import Estimate, Work, estimate, lay_out, least_sent
from avssl.plan.run import plan, recomputations, suggestions
from avssl.plan.table import layout_lines, row
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import Topology, find_topology, parse_name
from avssl.train.build_model import build_model
from avssl.train.run import fresh_state

CONFIG = "tests/train/tiny_config.py"


def tiny(**changes):
    config = load_config(CONFIG)
    override(config, [(key.replace("__", "."), str(value)) for key, value in changes.items()])
    return resolve(config)


@pytest.mark.parametrize("fsdp", [1, 4])
def test_what_is_held_is_what_a_device_holds(fsdp):
    layout = lay_out(tiny(parallel__fsdp=fsdp), find_topology("cpu:8"))
    state = fresh_state(layout.setup)
    for name, item in state.items().items():
        on_first = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(item))
        assert layout.held.get(name, 0) == on_first
    assert layout.held["params"] > 0


def test_an_estimate_counts_the_sum_of_all_gradients():
    layout = lay_out(tiny(), find_topology("cpu:8"))
    found = estimate(layout)
    assert found.fits
    assert found.roofs == []
    assert found.work.flops > 0
    assert found.peak_bytes > layout.held_bytes
    whole = 4 * sum(leaf.size for leaf in jax.tree.leaves(layout.setup.abstract.params))
    assert found.work.least_sent == {"all-reduce": 2 * 7 / 8 * whole}
    # Gradients are summed over devices, and the outputs that losses compare are gathered.
    assert found.work.bytes_sent >= found.work.least_bytes_sent
    assert found.work.collectives["all-reduce"][0] > 0


def test_parameters_in_parts_are_sent_by_other_kinds_and_no_more():
    setup = lay_out(tiny(parallel__fsdp=4), find_topology("cpu:8")).setup
    params, shardings = (
        jax.tree.leaves(x) for x in (setup.abstract.params, setup.shardings.params)
    )
    in_parts = sum(4 * x.size for x, y in zip(params, shardings, strict=True) if any(y.spec))
    whole = sum(4 * leaf.size for leaf in params)
    sent = least_sent(setup)
    assert 0 < in_parts < whole
    assert sent["all-gather"] == sent["reduce-scatter"] == 3 / 4 * in_parts
    # Two copies of each quarter.
    assert sent["all-reduce"] == in_parts / 4 + 2 * 7 / 8 * (whole - in_parts)
    assert sum(sent.values()) == pytest.approx(2 * 7 / 8 * whole)


def test_frozen_parameters_have_no_gradients_to_send():
    devices = find_topology("cpu:8")
    changes = {"batch_size": 8, "parallel__fsdp": 4}
    whole = least_sent(lay_out(tiny(**changes), devices).setup)
    setup = lay_out(tiny(**changes, optimizer__frozen="('^encoders/',)"), devices).setup
    sent = least_sent(setup)
    heads = sum(4 * leaf.size for leaf in jax.tree.leaves(setup.abstract.params["objectives"]))
    assert sent["all-gather"] == whole["all-gather"]
    assert "reduce-scatter" not in sent
    # The heads are too small to be in parts.
    assert sent["all-reduce"] == 2 * 7 / 8 * heads


def test_the_command_prints_what_is_held_and_what_is_done(run):
    code, out, _ = run("plan", "--config", CONFIG, "--topology", "cpu:4", "--batch", "16")
    assert code == 0
    assert "cpu:4: 4 chips, data 4 x fsdp 1; batch 16, 4 a chip" in out
    for word in ("params", "opt_state", "temporary", "peak", "FLOPs", "all-reduce", "no roofline"):
        assert word in out


def test_suggestions_are_tried_until_one_of_a_kind_fits(monkeypatch):
    """The compiler is played: a step fits where it has at most four clips a device at a time, or bf16."""

    def played(layout):
        config = layout.setup.config
        at_once = config.batch_size / 8 / config.optimizer.accumulate
        size = at_once * (2 if config.precision == "bf16" else 4)
        return Estimate(layout, size <= 16, size * 2**30, 16 * 2**30, 0.0)

    monkeypatch.setattr("avssl.plan.run.estimate", played)
    config = tiny(batch_size=64)
    found = played(lay_out(config, find_topology("cpu:8")))
    assert list(suggestions(found)) == [
        "what would fit:",
        "  --config.parallel.fsdp=4: 32.00 GiB",
        "  --config.parallel.fsdp=8: 32.00 GiB",
        "  --config.optimizer.accumulate=2: 16.00 GiB, fits",
        "  --config.precision=bf16: 16.00 GiB, fits",
        "  --config.batch_size=32: 16.00 GiB, fits",
    ]
    vit = "vit_video", "vit_audio"
    changes = dict(zip(("encoders__video__name", "encoders__audio__name"), vit, strict=True))
    assert recomputations(tiny(**changes, encoders__audio__remat="dots")) == [
        {"encoders.video.remat": "attention"},
        {"encoders.video.remat": "dots"},
        {"encoders.video.remat": "full", "encoders.audio.remat": "full"},
    ]
    larger = tiny(batch_size=8 * 4 * 64)
    *_, last = suggestions(played(lay_out(larger, find_topology("cpu:8"))))
    assert last == "  none of these alone: take them together, or more chips"


def test_a_suggestion_that_is_refused_ends_none(monkeypatch):
    def played(layout):
        if layout.setup.config.parallel.fsdp == 4:
            raise AvsslError("the compiler refuses the step")
        return Estimate(layout, layout.batch_size < 64, 2**34, 2**33, 0.0)

    monkeypatch.setattr("avssl.plan.run.estimate", played)
    lines = list(suggestions(played(lay_out(tiny(batch_size=64), find_topology("cpu:8")))))
    assert lines[1:3] == [
        "  --config.parallel.fsdp=4: the compiler refuses the step",
        "  --config.parallel.fsdp=8: 16.00 GiB",
    ]
    assert lines[-1] == "  --config.batch_size=32: 16.00 GiB, fits"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("v5e", "is no topology"),
        ("v5e:16*16", "is no topology"),
        ("v5ee:16x16", "did you mean 'v5e'? known: v4, v5e, v5p, v6e, tpu7x, cpu"),
        ("gpu:8", "known: v4, v5e, v5p, v6e, tpu7x, cpu"),
        ("cpu:9999", "simulated devices"),
        ("cpu:1x1x1x2", "a number alone, as cpu:2"),
        ("v5e:16x32", "there is no slice v5e:16x32; of v5e there are 2x2, 2x4"),
        ("v5e:16x16x2", "there is no slice"),
        ("v5e:2x2x1", "there is no slice"),
        ("v5e:256", "there is no slice"),
        ("v4:4x4", "of v4 there are 2x2x1, "),
        ("v5p:4x4x6", "multiples of four that ascend, up to 8,960 chips"),
        ("v5p:8x4x4", "there is no slice"),
        ("v5p:16x16x64", "there is no slice"),
    ],
)
def test_wrong_names_are_refused(name, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        find_topology(name)


@pytest.mark.parametrize("name", ["v5e:4x8", "v4:2x2x1", "v5p:4x4x8", "v5p:4x8x20", "tpu7x:4x4x4"])
def test_slices_that_can_be_booked(name):
    kind, sides = parse_name(name)
    assert name == f"{kind}:{'x'.join(map(str, sides))}"


def test_half_a_chip_is_said_to_be_one():
    layout = lay_out(tiny(), find_topology("cpu:8"))
    halves = Topology("tpu7x:2x2x1", layout.topology.devices, CHIPS["tpu7x"])
    first = next(layout_lines(dataclasses.replace(layout, topology=halves)))
    assert "4 chips of 2 devices each (figures are of one), data 8 x fsdp 1" in first


@pytest.mark.parametrize(
    ("limit", "fits", "word"), [(None, True, "–"), (2**34, True, "yes"), (2**34, False, "no")]
)
def test_whether_it_fits_is_said_where_a_limit_is_known(limit, fits, word):
    layout = lay_out(tiny(), find_topology("cpu:8"))
    assert row(Estimate(layout, fits, 2**30, limit, 0.0))["fits"] == word


def test_what_could_not_be_counted_is_a_bound():
    layout = lay_out(tiny(), find_topology("cpu:8"))
    work = Work(2**30, 1e12, 1e9, "", False, {}, {})
    cells = row(Estimate(layout, True, 2**30, None, 0.0, work))
    assert (cells["GFLOP"], cells["GB moved"], cells["MB sent"]) == ("≥ 1000.0", "≥ 1.00", "≥ 0.0")


def test_batches_that_do_not_divide_are_refused():
    with pytest.raises(UsageError, match="use a multiple of 8"):
        lay_out(tiny(batch_size=12), find_topology("cpu:8"))


def test_teachers_that_are_not_here_are_planned_as_random_networks(capsys):
    config = load_config("configs/world/distill.py:quicktest")
    override(config, [("teachers.teacher.run", "runs/of-another-machine")])
    config, teachers = planned_teachers(resolve(config))
    said = capsys.readouterr().out
    assert "runs/of-another-machine is not here: planned as encoders." in said
    layout = lay_out(config, find_topology("cpu:2"), teachers)
    sizes = [leaf.nbytes for leaf in jax.tree.leaves(teachers.variables)]
    assert layout.held["teachers"] == sum(sizes) > 0


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_a_missing_libtpu_is_said():
    with pytest.raises(UsageError, match="pip install 'avssl\\[tpu\\]'"):
        find_topology("v5e:16x16")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu: pip install 'avssl[tpu]'"
)
def test_a_slice_of_a_pod():
    lines = list(plan(tiny(batch_size=512), "v5e:16x16"))
    assert lines[0].startswith("v5e:16x16: 256 chips, data 256 x fsdp 1; batch 512, 2 a chip")
    assert any("of 15.75: fits" in line for line in lines)
    assert any("bound by" in line for line in lines)


def test_what_the_compiler_says_is_one_sentence(monkeypatch):
    """It is played: refusals of a real one come with TPUs."""

    def refused(_):
        raise jax.errors.JaxRuntimeError("INTERNAL: no lowering\n  of this " + 99 * "and that ")

    monkeypatch.setattr("avssl.plan.estimate.lower_step", refused)
    with pytest.raises(
        AvsslError, match="refuses the step for cpu:8: INTERNAL: no lowering of this"
    ):
        estimate(lay_out(tiny(), find_topology("cpu:8")))


@pytest.mark.parametrize(
    ("words", "gibibytes"),
    [
        ("Ran out of memory in memory space hbm. Used 85.59G of 15.75G hbm.", 85.59),
        (
            "Ran out of memory on HBM, the total memory required for HLO temporaries (800.00G) exceeds "
            "available HBM (15.75G).",
            800,
        ),
    ],
)
def test_what_does_not_fit_is_told_by_the_compiler(monkeypatch, words, gibibytes):
    def refused(_):
        raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {words}")

    monkeypatch.setattr("avssl.plan.estimate.lower_step", refused)
    found = estimate(lay_out(tiny(), find_topology("cpu:8")))
    assert (found.fits, found.peak_bytes, found.work) == (False, gibibytes * 2**30, None)
    assert found.limit_bytes == 15.75 * 2**30


@pytest.mark.parametrize(("limit", "fits"), [(2**20, False), (2**40, True)])
def test_what_the_step_is_given_has_to_fit_as_well(limit, fits):
    """Compilers hold their own workspace alone against the limit. The chip is played."""
    chip = dataclasses.replace(CHIPS["v5e"], memory_bytes=limit)
    devices = find_topology("cpu:8").devices
    found = estimate(lay_out(tiny(), Topology("cpu:8", devices, chip)))
    assert found.fits is fits
    assert found.work is not None


def test_results_are_of_a_table(run):
    code, _, err = run("plan", "--topology", "cpu:2", "--config", CONFIG, "--results", "R.md")
    assert code == 2
    assert "--sweep, --compare or --walk" in err


def test_the_shapes_of_av_mae(monkeypatch):
    tokens = []
    call = Blocks.__call__

    def seen(blocks, x, **keywords):
        tokens.append((x.shape[1], x.shape[2], blocks.depth))
        return call(blocks, x, **keywords)

    monkeypatch.setattr(Blocks, "__call__", seen)
    config = resolve(load_config("configs/pretrain/av_mae.py:base"))
    model = build_model(config)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    tokens.clear()
    key, batch = jax.random.key(0), jax.eval_shape(lambda: model.example_batch(2))
    jax.eval_shape(partial(model.encode, train=True), variables, batch, key)
    # The encoders see a share, then both blocks on both, and the decoder sees all places.
    assert tokens == [
        (157, 768, 10), (149, 768, 10), (306, 768, 2), (1568, 384, 4), (496, 384, 4),
    ]  # fmt: skip


@pytest.mark.parametrize("words", [(), ("--config", CONFIG, "--walk", "rows.jsonl")])
def test_a_plan_is_of_one_config_or_of_all(run, words):
    code, _, err = run("plan", "--topology", "cpu:2", *words)
    assert code == 2
    assert "--config FILE, or --walk" in err
