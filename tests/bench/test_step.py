"""`avssl bench step`: what it prints, whom it takes turns with, and what it does not compare."""

import itertools
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from avssl.bench.avid_sizes import avid_sizes
from avssl.bench.model_flops import model_flops, product_flops
from avssl.bench.peaks import peak_flops
from avssl.bench.section import cells_of
from avssl.bench.step import (
    WARM_UP_STEPS,
    cost_lines,
    model_lines,
    seconds_in_turns,
)
from avssl.config import load_config, override, resolve
from avssl.errors import UsageError
from avssl.evaluate.results import commit, machine
from avssl.models.convolution import convolve3d
from avssl.models.transformer import Blocks
from avssl.plan.program import Program
from avssl.teachers.open import NO_TEACHERS
from avssl.train.build_model import build_model
from tests.conftest import TINY_CONFIG

AVID = "configs/pretrain/avid.py:quicktest"


def test_it_prints_speed_cost_and_where_the_time_goes_and_writes_them(run, tmp_path):
    file = tmp_path / "R.md"
    words = ("bench", "step", "--config", TINY_CONFIG, "--steps", "2", "--results", file)
    code, said, _ = run(*words)
    assert code == 0
    labels = ["machine", "devices", "compile", "step", "throughput", "FLOPs", "peak memory"]
    lines = said.splitlines()
    assert [cells_of(line)[0] for line in lines[:8]] == [*labels, "model FLOPs"]
    assert machine() in lines[0]
    assert "where the time goes, of " in said
    assert "elementwise" in said
    title = f"A step of {TINY_CONFIG}, batch 8, float32, on 8 x cpu"
    assert lines[-1] == f"wrote the section '{title}' of {file}"
    written = file.read_text()
    assert f"## {title}\n\n    avssl" in written
    assert f"- commit {commit()}\n- {machine()}\n" in written
    for line in lines[:-1]:
        assert f"| {' | '.join(cells_of(line))} |" in written


@pytest.mark.parametrize(
    ("kind", "flops"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("TPU v5 lite", 197e12),
        ("TPU v4", 275e12),
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


def test_model_flops_are_the_same_however_little_is_kept():
    flops = model_flops(vit_pair(), NO_TEACHERS)
    anew = vit_pair(remat="full", scan=True)
    anew.optimizer.accumulate = 2
    anew.objectives.xid.blocks = 4
    assert model_flops(anew, NO_TEACHERS) == flops > 0


def test_a_convolution_takes_as_much_again_for_either_gradient():
    """Of kernels of one position, which padding does not concern: the platforms' ways take alike."""
    x = jax.ShapeDtypeStruct((2, 4, 8, 8, 3), "float32")
    kernel = jax.ShapeDtypeStruct((1, 1, 1, 3, 5), "float32")

    def loss(x, kernel):
        return jnp.sum(jnp.sin(convolve3d(x, kernel, (1, 1, 1), (0, 0, 0))))

    jaxpr = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(x, kernel).jaxpr
    assert product_flops(jaxpr) == 3 * 2 * (2 * 4 * 8 * 8) * 3 * 5


def test_model_flops_of_encoders_whose_blocks_are_layers():
    """Of an objective, `blocks` are parts of a batch."""
    assert model_flops(resolve(load_config(AVID)), NO_TEACHERS) > 0


def test_products_of_a_transformer():
    """Each takes as much again for either gradient."""
    batch, tokens, width, hidden, depth = 2, 10, 32, 48, 3
    blocks = Blocks(depth, 4, hidden)
    x = jax.ShapeDtypeStruct((batch, tokens, width), "float32")
    params = jax.eval_shape(lambda: blocks.init(jax.random.key(0), jnp.ones(x.shape), train=False))

    def loss(params, x):
        return jnp.sum(jnp.sin(blocks.apply(params, x, train=True)[0]))

    weights, attention = 4 * width**2 + 2 * width * hidden, 2 * tokens * width
    jaxpr = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(params, x).jaxpr
    assert product_flops(jaxpr) == 3 * 2 * batch * tokens * depth * (weights + attention)


def vit_pair(**keys):
    config = load_config(TINY_CONFIG)
    config.views.video.update(size=32)
    config.encoders.video = dict(
        name="vit_video", modality="video", size="tiny", patch=(2, 8, 8), frontend=dict(name="rgb"), **keys
    )  # fmt: skip
    config.encoders.audio = dict(
        name="vit_audio", modality="audio", size="tiny", patch=(4, 8),
        frontend=config.encoders.audio.frontend.to_dict(), **keys,
    )  # fmt: skip
    return resolve(config)


def test_a_convolution_multiplies_with_what_is_there():
    """As the compiler counts it, the gradients of a strided one with padding among them."""

    def convolved(x, kernel):
        found = jax.lax.conv_general_dilated(
            x, kernel, (2, 1), ((1, 1), (2, 0)), rhs_dilation=(1, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return jnp.sum(jnp.sin(found))

    x, kernel = (
        jax.ShapeDtypeStruct(shape, "float32") for shape in ((2, 9, 8, 32), (3, 2, 32, 16))
    )
    traced = jax.jit(jax.grad(convolved, argnums=(0, 1))).trace(x, kernel)
    counted = traced.lower().cost_analysis()["flops"]
    assert product_flops(traced.jaxpr) == pytest.approx(counted, rel=0.02)


def test_loops_count_as_often_as_they_run():
    def loops(x):
        return jax.lax.scan(lambda carry, _: (carry @ carry, None), x, None, length=7)[0]

    def either_way(x):
        return jax.lax.platform_dependent(x, tpu=lambda x: x @ x @ x, default=lambda x: x @ x)

    shape, product = jax.ShapeDtypeStruct((8, 8), "float32"), 2 * 8**3
    assert product_flops(jax.jit(loops).trace(shape).jaxpr) == 7 * product
    assert product_flops(jax.jit(either_way).trace(shape).jaxpr) == product


def test_use_of_a_chip_is_measured_by_model_flops(monkeypatch):
    played = SimpleNamespace(config=None, teachers=None)
    monkeypatch.setattr("avssl.bench.step.model_flops", lambda *_: 8e12)
    monkeypatch.setattr("avssl.bench.step.peak_flops", lambda _: 10e12)
    flops, share = model_lines(played, seconds=0.2)
    assert cells_of(flops)[1].startswith("1000.00 G per step and device")
    assert cells_of(share) == ("MFU", "50.0% of 10 TFLOP/s in bf16")


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
