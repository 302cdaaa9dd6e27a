"""`avssl plan --sweep`: how what a device holds and does changes with the number of devices."""

import importlib.util
import sys

import jax
import pytest

from avssl.config import load_config, override, resolve
from avssl.errors import UsageError
from avssl.plan.estimate import Estimate, estimate, lay_out
from avssl.plan.sweep import sweep
from avssl.plan.topology import find_topology, sizes_up_to
from avssl.signal import spectrum

CONFIG = "tests/train/tiny_config.py"


def tiny(**changes):
    config = load_config(CONFIG)
    override(config, [(key.replace("__", "."), str(value)) for key, value in changes.items()])
    return resolve(config)


def test_a_sweep_has_a_row_for_each_size():
    header, *rows = sweep(tiny(batch_size=8, parallel__fsdp=2), "cpu:2")
    assert header.split()[0] == "topology"
    assert [row.split()[0] for row in rows] == ["cpu:1", "cpu:2"]
    assert [row.split()[2] for row in rows] == ["4", "8"]
    # Of simulated devices no limit is known.
    assert [row.split()[4] for row in rows] == ["–", "–"]


def test_a_sweep_is_written_into_a_file(run, tmp_path, monkeypatch):
    """The compiler is played: what is held is known without it."""
    monkeypatch.setattr(
        "avssl.plan.rows.estimate", lambda one, lowered: Estimate(one, True, 2**30, None, 7.0)
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


def test_parameters_in_parts_take_an_nth_on_each_of_n_devices():
    wide = dict(batch_size=8, objectives__xid__projection="(512, 256)")
    in_parts, held = {}, {}
    for n in (1, 2, 4, 8):
        layout = lay_out(tiny(parallel__fsdp=n, **wide), find_topology(f"cpu:{n}"))
        held[n] = layout.held["params"]
        leaves = zip(
            jax.tree.leaves(layout.setup.abstract.params),
            jax.tree.leaves(layout.setup.shardings.params),
            strict=True,
        )
        in_parts[n] = sum(4 * leaf.size for leaf, sharding in leaves if any(sharding.spec))
    # Nearly all of these parameters are in large arrays.
    assert in_parts[8] > 0.95 * held[1]
    for n in (2, 4, 8):
        assert in_parts[n] == in_parts[8]
        assert held[n] == held[1] - in_parts[n] + in_parts[n] / n


def test_a_device_does_as_much_however_many_there_are(monkeypatch):
    """Spectrograms as on accelerators, of own sounds: the FFT of simulated devices gathers them all."""
    monkeypatch.setattr(spectrum, "_power_by_fft", spectrum._power_by_product)
    few, many = (
        estimate(lay_out(tiny(batch_size=4 * n), find_topology(f"cpu:{n}"))).work for n in (2, 8)
    )
    assert many.flops == pytest.approx(few.flops, rel=0.05)
    assert many.temporary == pytest.approx(few.temporary, rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu: pip install 'avssl[tpu]'"
)
def test_a_chip_does_as_much_from_8_to_256():
    few, many = (
        estimate(lay_out(tiny(batch_size=2 * chips), find_topology(name)))
        for name, chips in (("v5e:2x4", 8), ("v5e:16x16", 256))
    )
    assert many.work.flops == pytest.approx(few.work.flops, rel=0.1)
    assert many.peak_bytes == pytest.approx(few.peak_bytes, rel=0.1)


def test_sizes():
    assert sizes_up_to("v5e:8x8") == ["v5e:2x2", "v5e:2x4", "v5e:4x4", "v5e:4x8", "v5e:8x8"]
    assert sizes_up_to("v5p:4x4x4")[-3:] == ["v5p:2x2x4", "v5p:2x4x4", "v5p:4x4x4"]
    assert sizes_up_to("cpu:6") == ["cpu:1", "cpu:2", "cpu:4", "cpu:6"]


def test_a_batch_that_gives_no_whole_clips_is_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr("avssl.plan.rows.estimate", lambda *_: pytest.fail("compiled"))
    with pytest.raises(UsageError, match=r"gives 0\.5 clips to cpu:1: take a multiple of 8"):
        list(sweep(tiny(batch_size=4), "cpu:8"))
