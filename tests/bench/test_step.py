"""`avssl bench step`: what it prints, whom it takes turns with, and what it does not compare."""

import itertools
import sys

import jax
import pytest

from avssl.bench.avid_sizes import avid_sizes
from avssl.bench.peaks import peak_flops
from avssl.bench.step import WARM_UP_STEPS, cost_lines, seconds_in_turns
from avssl.config import load_config, override, resolve
from avssl.errors import UsageError
from avssl.plan.program import Program
from avssl.train.build_model import build_model
from tests.conftest import TINY_CONFIG

AVID = "configs/pretrain/avid.py:quicktest"


def test_it_prints_speed_cost_and_where_the_time_goes(run):
    code, said, _ = run("bench", "step", "--config", TINY_CONFIG, "--steps", "2")
    assert code == 0
    first_words = [line.split()[0] for line in said.splitlines()]
    assert first_words[:6] == ["machine", "compile", "step", "throughput", "FLOPs", "peak"]
    assert "where the time goes, of " in said
    assert "elementwise" in said


@pytest.mark.parametrize(
    ("kind", "flops"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("TPU v5 lite", 197e12),
        ("TPU v4", 275e12 / 2),
        ("cpu", None),
    ],
)
def test_peaks_by_the_names_of_devices(kind, flops):
    assert peak_flops(kind) == flops


def test_the_share_of_the_peak_counts_loops_as_often_as_they_run(monkeypatch):
    def loops(x):
        return jax.lax.scan(lambda carry, _: (carry @ carry, None), x, None, length=7)[0]

    compiled = jax.jit(loops).lower(jax.ShapeDtypeStruct((64, 64), "float32")).compile()
    least = 7 * 2 * 64**3
    monkeypatch.setattr("avssl.bench.step.peak_flops", lambda _: 10 * least)
    flops, share, *_ = cost_lines(compiled, Program(compiled.as_text()), seconds=0.5)
    assert float(flops.split()[1]) == pytest.approx(least / 1e9, abs=0.01)
    assert float(share.split()[1].rstrip("%")) == pytest.approx(20, abs=1)


@pytest.mark.parametrize("num_steps", [1, 5, 12])
def test_steps_are_taken_in_turns(num_steps):
    taken = []
    steps = {name: lambda name=name: taken.append(name) for name in ("ours", "theirs")}
    found = seconds_in_turns(steps, num_steps)
    assert taken.count("ours") == taken.count("theirs") == WARM_UP_STEPS + num_steps
    assert set(found) == {"ours", "theirs"}
    changes = sum(one != after for one, after in itertools.pairwise(taken))
    assert changes >= 2 * min(5, num_steps)


@pytest.mark.parametrize(
    ("config", "key", "value", "said"),
    [
        ("configs/pretrain/xid.py:quicktest", "seed", "1", "objectives is xid"),
        (AVID, "encoders.audio.name", "vggish_audio", "encoders is r2plus1d18, vggish_audio"),
        (AVID, "objectives.avid.within", "1.0", "objectives.avid.within is 1.0"),
        (AVID, "optimizer.name", "sgd", "optimizer.name is sgd"),
        (AVID, "optimizer.accumulate", "2", "optimizer.accumulate is 2"),
        (AVID, "ema.decay", "0.9", "ema.decay is 0.9"),
        (AVID, "precision", "float64", "precision is float64"),
        (AVID, "encoders.video.stem_max_pool", "False", "stem_max_pool is False"),
        (AVID, "seed", "1", "the number of devices is 8"),
    ],
)
def test_other_work_than_avids_is_not_compared(config, key, value, said):
    config = load_config(config)
    override(config, [(key, value)])
    config = resolve(config)
    with pytest.raises(UsageError, match=said):
        avid_sizes(config, build_model(config))


def test_a_missing_pytorch_is_said(run, monkeypatch):
    for module in ("torch_step", "torch_avid"):
        monkeypatch.delitem(sys.modules, f"avssl.bench.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    code, _, error = run("bench", "step", "--config", AVID, "--vs", "torch")
    assert code == 2
    assert "pip install 'avssl[torch]'" in error
