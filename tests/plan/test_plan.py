"""`avssl plan` on simulated devices, and on a slice of a pod where libtpu is there to compile for it."""

import importlib.util
import json
import sys
from pathlib import Path

import jax
import pytest

from avssl.config import load_config, override, resolve
from avssl.errors import AvsslError, UsageError
from avssl.models.transformer import Blocks
from avssl.objectives import OBJECTIVES
from avssl.plan import walk as walking
from avssl.plan.estimate import Estimate, estimate, lay_out, least_sent
from avssl.plan.run import plan, recomputations, sizes_up_to, suggestions, sweep
from avssl.plan.teachers import planned_teachers
from avssl.plan.topology import find_topology, parse_name
from avssl.train.run import fresh_state

CONFIG = "tests/train/tiny_config.py"
EMPTY = """
def get_config(variant=""):
    from avssl.config import base

    return base()
"""


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


def test_the_command_prints_what_is_held_and_what_is_done(run):
    code, out, _ = run("plan", "--config", CONFIG, "--topology", "cpu:4", "--batch", "16")
    assert code == 0
    assert "cpu:4: 4 chips, data 4 x fsdp 1; batch 16, 4 a chip" in out
    for word in ("params", "opt_state", "temporary", "peak", "FLOPs", "all-reduce", "no roofline"):
        assert word in out


def test_a_sweep_has_a_row_for_each_size():
    header, *rows = sweep(tiny(batch_size=8, parallel__fsdp=2), "cpu:2")
    assert header.split()[0] == "topology"
    assert [row.split()[0] for row in rows] == ["cpu:1", "cpu:2"]
    assert [row.split()[2] for row in rows] == ["4", "8"]


def test_a_sweep_is_written_into_a_file(run, tmp_path, monkeypatch):
    """The compiler is played: what is held is known without it."""
    monkeypatch.setattr(
        "avssl.plan.run.estimate", lambda one: Estimate(one, True, 2**30, None, 7.0)
    )
    file = tmp_path / "README.md"
    sections = (
        "## Slices up to cpu:8, parameters sharded\n\nold\n\n## Slices up to cpu:8\n\nwhole\n"
    )
    file.write_text(f"# Name\n\n{sections}")
    words = ("plan", "--sweep", "--topology", "cpu:8", "--batch", "16", "--results", str(file))
    monkeypatch.setattr(sys, "argv", ["avssl", *words])
    code, out, _ = run(*words, "--config", CONFIG, "--config.parallel.fsdp=8")
    assert code == 0
    assert "cpu:2: compiled in 7 s" in out
    text = file.read_text()
    assert "    avssl plan --sweep --topology cpu:8" in text
    assert "old" not in text
    assert text.endswith("\n\n## Slices up to cpu:8\n\nwhole\n")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| cpu:")]
    held = [lay_out(tiny(batch_size=8, parallel__fsdp=n), find_topology(f"cpu:{n}")).held["params"]
            for n in (1, 2, 4, 8)]  # fmt: skip
    assert [row[-1].rstrip(" |") for row in rows] == [f"{size / 2**30:.3f}" for size in held]
    assert held == sorted(held, reverse=True)
    assert held[0] > held[-1]


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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("v5e", "is no topology"),
        ("v5e:16*16", "is no topology"),
        ("v5ee:16x16", "did you mean 'v5e'"),
        ("cpu:9999", "simulated devices"),
    ],
)
def test_wrong_names_are_refused(name, words):
    with pytest.raises(UsageError, match=words.replace("*", r"\*")):
        find_topology(name)


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


def test_sizes():
    assert parse_name("v5p:4x4x8") == ("v5p", (4, 4, 8))
    assert sizes_up_to("v5e:8x8") == ["v5e:2x2", "v5e:2x4", "v5e:4x4", "v5e:4x8", "v5e:8x8"]


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
    assert any("of 16.00: fits" in line for line in lines)
    assert any("bound by" in line for line in lines)


def test_a_walk_keeps_its_rows_and_says_what_does_not_compile(run, tmp_path, monkeypatch):
    for folder, name, text in (
        ("pretrain", "works", Path(CONFIG).read_text()),
        (
            "distill",
            "fails",
            "def get_config(variant=''):\n    from avssl.config import base\n    return base()\n",
        ),
    ):
        (tmp_path / "configs" / folder).mkdir(parents=True)
        (tmp_path / "configs" / folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    compiled = []
    estimate_once = walking.estimate
    monkeypatch.setattr(walking, "estimate", lambda one: compiled.append(one) or estimate_once(one))
    words = (
        "plan",
        "--walk",
        "rows.jsonl",
        "--topology",
        "cpu:2",
        "--batch",
        "4",
        "--results",
        "R.md",
    )
    for _ in range(2):
        code, out, _ = run(*words)
        assert code == 0
        assert "configs/pretrain/works.py" in out
    assert [one.batch_size for one in compiled] == [8]  # its own is larger
    written = Path("R.md").read_text()
    assert "| configs/pretrain/works.py | 8 |" in written
    assert "configs/distill/fails.py: " in written
    assert len(Path("rows.jsonl").read_text().splitlines()) == 1


def test_a_row_after_a_torn_one_is_kept(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "rows.jsonl"
    monkeypatch.setattr(walking, "walked_configs", lambda: ["a.py", "b.py"])
    compiled = []
    monkeypatch.setattr(
        walking,
        "cells_of",
        lambda file, *_: (compiled.append(file) or (file, *walking.HEADER[1:]), ""),
    )
    list(walking.walk("cpu:2", 8, kept))
    whole = kept.read_bytes()
    # A kill within the row of b.py.
    kept.write_bytes(whole[:-20])
    list(walking.walk("cpu:2", 8, kept))
    assert kept.read_bytes() == whole
    assert compiled == ["a.py", "b.py", "b.py"]
    assert "rows.jsonl: a stop tore its last line, which is dropped" in capsys.readouterr().err
    list(walking.walk("cpu:2", 8, kept))
    assert len(compiled) == 3


@pytest.mark.parametrize("line", ["5", "{}", '{"config": "a.py"}{"config": "b.py"}'])
def test_a_line_that_is_no_row_of_a_walk_is_named(tmp_path, capsys, line):
    kept = tmp_path / "rows.jsonl"
    row = {"config": "a.py", "topology": "cpu:2", "batch": 8, "counted_by": walking.counted_by()}
    kept.write_text(f"{json.dumps(row)}\n{line}\n")
    assert list(walking.read_rows(kept, "cpu:2", 8)) == ["a.py"]
    assert "rows.jsonl:2 is not a row of a walk" in capsys.readouterr().err


def test_rows_that_other_code_counted_are_not_taken(tmp_path):
    kept = tmp_path / "rows.jsonl"
    row = {"config": "a.py", "topology": "cpu:2", "batch": 8}
    kept.write_text(f"{json.dumps(row)}\n{json.dumps({**row, 'counted_by': '0' * 12})}\n")
    assert walking.read_rows(kept, "cpu:2", 8) == {}


def test_a_walk_trains_every_objective():
    trained = set()
    for name in walking.walked_configs():
        trained |= {objective.partition("__")[0] for objective in load_config(name).objectives}
    assert trained == OBJECTIVES.keys()


def test_what_the_compiler_says_is_one_sentence(monkeypatch):
    """It is played: refusals of a real one come with TPUs."""

    def refused(_):
        raise jax.errors.JaxRuntimeError("INTERNAL: no lowering\n  of this " + 99 * "and that ")

    monkeypatch.setattr("avssl.plan.estimate.compile_step", refused)
    with pytest.raises(
        AvsslError, match="refuses the step for cpu:8: INTERNAL: no lowering of this"
    ):
        estimate(lay_out(tiny(), find_topology("cpu:8")))


def test_what_does_not_fit_is_told_by_the_compiler(monkeypatch):
    def refused(_):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 85.59G of 15.75G hbm."
        )

    monkeypatch.setattr("avssl.plan.estimate.compile_step", refused)
    found = estimate(lay_out(tiny(), find_topology("cpu:8")))
    assert (found.fits, found.peak_bytes, found.work) == (False, 85.59 * 2**30, None)


def test_results_are_of_a_table(run):
    code, _, err = run("plan", "--topology", "cpu:2", "--config", CONFIG, "--results", "R.md")
    assert code == 2
    assert "--sweep, --compare or --walk" in err


def test_the_shapes_of_av_mae(monkeypatch):
    tokens = set()
    call = Blocks.__call__

    def seen(blocks, x, **keywords):
        tokens.add(x.shape[1])
        return call(blocks, x, **keywords)

    monkeypatch.setattr(Blocks, "__call__", seen)
    config = load_config("configs/pretrain/xid_vit.py:av_mae_shapes")
    override(config, [("batch_size", "8")])
    lay_out(resolve(config), find_topology("cpu:8"))
    assert tokens == {1568, 496}
    dropped = config.encoders.video.patch_drop, config.encoders.audio.patch_drop
    assert [round(1568 * (1 - dropped[0])), round(496 * (1 - dropped[1]))] == [157, 149]


@pytest.mark.parametrize("words", [(), ("--config", CONFIG, "--walk", "rows.jsonl")])
def test_a_plan_is_of_one_config_or_of_all(run, words):
    code, _, err = run("plan", "--topology", "cpu:2", *words)
    assert code == 2
    assert "--config FILE, or --walk" in err
