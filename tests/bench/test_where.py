"""Time by family of operations: it adds up, and what dominates a small program is found."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from avssl.bench import where
from avssl.bench.families import CONVOLUTION, ELEMENTWISE, GATHER, MATMUL
from avssl.bench.trace import (
    LEFT_TO_OTHERS,
    LOOP,
    NOTHING,
    Span,
    instruction_name,
    spans_by_device,
    time_by_name,
)
from avssl.plan.program import Program


def test_moments_are_divided_among_what_runs():
    spans = [
        Span("loop", 0, 100, LOOP),
        Span("a", 10, 40),
        Span("b", 20, 40),  # on another thread
        Span("c", 50, 60),
        Span("c", 60, 80, LEFT_TO_OTHERS),
        Span("a", 70, 75),
        Span("late", 110, 120),
    ]
    found = time_by_name(spans)
    assert found == {
        "loop": 10 + 10 + 20,
        "a": 20 + 5,
        "b": 10,
        "c": 10 + 15,
        NOTHING: 10,
        "late": 10,
    }
    assert sum(found.values()) == 120


def test_names_of_each_platform():
    assert instruction_name("dot.3") == "dot.3"
    assert instruction_name("call.1::loop_fusion.2") == "loop_fusion.2"
    assert instruction_name("%fusion.3 = f32[8]{0} fusion(f32[8]{0} %x)") == "fusion.3"


def plane(name, **lines):
    made = [
        SimpleNamespace(
            name=line.replace("_", " "),
            events=[
                SimpleNamespace(name=event, start_ns=start, duration_ns=5, stats=stats)
                for event, start, stats in events
            ],
        )
        for line, events in lines.items()
    ]
    return SimpleNamespace(name=name, lines=made)


def test_a_device_of_its_own_comes_before_the_host():
    host = plane("/host:CPU", worker=[("dot.1", 0, {"hlo_op": "dot.1"})])
    tpu = plane(
        "/device:TPU:0",
        Steps=[("0", 0, {})],
        XLA_Modules=[("jit_step(1)", 0, {})],
        XLA_Ops=[("%dot.1 = f32[8]{0} dot(...)", 0, {}), ("%add.2 = f32[8]{0} add(...)", 5, {})],
        Async_XLA_Ops=[("%copy-start.1 = f32[8]{0} copy-start(...)", 0, {})],
    )
    gpu = plane("/device:GPU:0", Stream=[("gemm_kernel", 3, {"hlo_op": "dot.1"})])
    program = Program("")

    def names(*planes):
        devices = spans_by_device(SimpleNamespace(planes=planes), program)
        return [[span.name for span in device] for device in devices]

    assert names(host) == [["dot.1"]]
    assert names(host, tpu) == [["dot.1", "add.2"]]
    assert names(host, gpu, plane("/device:GPU:1", Stream=[])) == [["dot.1"]]
    assert names(plane("/host:CPU", worker=[("PjitFunction", 0, {})])) == []


def test_a_loop_on_a_device_gets_what_is_left_of_it():
    compiled = jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y * x, x)).lower(1.0)
    program = Program(compiled.compile().as_text())
    [loop] = [name for name, one in program.named.items() if one.opcode == "while"]
    lines = {"XLA_Ops": [(f"%{loop} = ...", 0, {}), ("%multiply.1 = ...", 2, {})]}
    [spans] = spans_by_device(SimpleNamespace(planes=[plane("/device:TPU:0", **lines)]), program)
    assert time_by_name(spans) == {loop: 2, "multiply.1": 5}


def test_work_that_a_thread_leaves_to_others_ends_with_them():
    host = plane(
        "/host:CPU",
        one=[
            ("dot.1", 0, {"hlo_op": "dot.1", "_p": 7}),
            ("copy.1", 9, {"hlo_op": "copy.1", "_p": 8}),
        ],
        two=[("end: dot.1", 30, {"_c": 7}), ("end: of another program", 40, {"_c": 9})],
    )
    [spans] = spans_by_device(SimpleNamespace(planes=[host]), Program(""))
    assert time_by_name(spans) == {"dot.1": 25, "copy.1": 5}


def products(x):
    return jax.lax.fori_loop(0, 20, lambda _, y: 1e-3 * (x @ y), x)


def convolutions(x):
    pictures, kernel = x.reshape(8, 64, 64, 32), x[:288, :32].reshape(3, 3, 32, 32)
    return jax.lax.conv_general_dilated(
        pictures, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def arithmetic(x):
    for _ in range(30):
        x = jnp.sin(x)
    return x


def gathers(x):
    rows = jnp.arange(300_000) * 7919 % 1024
    return x[rows].sum(axis=0)


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("function", "expected"),
    [(products, MATMUL), (convolutions, CONVOLUTION), (arithmetic, ELEMENTWISE), (gathers, GATHER)],
)
def test_what_dominates_is_found(function, expected):
    x = jnp.linspace(0.0, 1.0, 1024 * 1024).reshape(1024, 1024)
    compiled = jax.jit(function).lower(x).compile()
    compiled(x).block_until_ready()
    traced = []

    def run():
        traced.append(compiled(x).block_until_ready())

    found = where.time_by_family(run, Program(compiled.as_text()))
    assert len(traced) == 1
    computed = {name: time for name, time in found.items() if name != where.IDLE}
    assert max(computed, key=lambda name: computed[name]) == expected
    assert computed[expected] > 0.5 * sum(computed.values())


@pytest.mark.optimised
def test_the_shares_add_up():
    x = jnp.ones((512, 512))
    compiled = jax.jit(products).lower(x).compile()
    head, *rows = where.where_lines(
        lambda: compiled(x).block_until_ready(), Program(compiled.as_text())
    )
    total = float(head.partition(", of ")[2].split(" ms")[0])
    times = [float(row.split(" ms")[0].split()[-1]) for row in rows]
    shares = [float(row.split()[-1].removesuffix("%")) for row in rows]
    assert sum(times) == pytest.approx(total, abs=0.06 * len(rows))
    assert sum(shares) == pytest.approx(100, abs=0.06 * len(rows))


def test_a_device_that_is_not_traced_is_said(monkeypatch):
    monkeypatch.setattr(where, "trace", lambda run: SimpleNamespace(planes=[]))
    [line] = where.where_lines(lambda: None, Program(""))
    assert "does not say" in line
