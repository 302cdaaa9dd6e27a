"""Bytes that instructions move: of what they slice the slice, of what they update the update."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from avssl.plan.program import Program
from avssl.plan.traffic import Traffic


def compiled_layers(num_layers, *, gradient=False, unrolled=False):
    def loss(weights, x):
        def layer(hidden, weight):
            return jnp.tanh(hidden @ weight), None

        unroll = num_layers if unrolled else 1
        return (jax.lax.scan(layer, x, weights, unroll=unroll)[0] ** 2).mean()

    shapes = (num_layers, 256, 256), (64, 256)
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(jax.grad(loss) if gradient else loss).lower(*arguments).compile()


def bytes_in_loops(compiled):
    return Program(compiled.as_text()).repeated_bytes()


# The loop of the backward pass keeps and fetches what the unrolled program never writes.
@pytest.mark.parametrize(("gradient", "at_most"), [(False, 1.5), (True, 2.0)])
def test_a_loop_over_layers_moves_what_they_move_one_by_one(gradient, at_most):
    looped, unrolled = (
        compiled_layers(40, gradient=gradient, unrolled=unrolled) for unrolled in (False, True)
    )
    once, whole = (one.cost_analysis()["bytes accessed"] for one in (looped, unrolled))
    assert 1.0 <= (once + bytes_in_loops(looped)) / whole <= at_most


def test_a_layer_costs_the_same_however_many_there_are():
    few, many = (bytes_in_loops(compiled_layers(n, gradient=True)) / (n - 1) for n in (10, 40))
    assert few == many


# A stack of six slices of 4 kB, read and written in fusions, and asynchronous pairs; as TPUs write it, a
# collective begins in one fusion, goes on beside a product in another and ends in a third.
FUSED = Path(__file__).with_name("fused.txt").read_text()
ONE = 4 * 1024
NUMBER = 4


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("fused_slice", 2 * ONE + NUMBER),
        # The new slice is read, and written in bfloat16 and as its tanh.
        ("fused_update", ONE + ONE / 2 + ONE + NUMBER),
        ("fused_fill", ONE + 6 * ONE + NUMBER),
        ("sliced", 2 * ONE + 2 * NUMBER),
        ("changed", 2 * ONE + 2 * NUMBER),
        ("added", 3 * ONE),
        ("buffer", 0),
        ("copy-start", 2 * ONE),
        ("slice-start", 2 * ONE),
        ("all-gather-start", ONE + 4 * ONE),
        ("all-reduce-start", 2 * ONE),
        *((f"{kind}-done", 0) for kind in ("copy", "slice", "all-gather", "all-reduce")),
        ("async-start", ONE + 4 * ONE),
        ("meanwhile", 2 * ONE),
        ("async-done", 0),
        ("out", 0),
    ],
)
def test_bytes_of(name, moved):
    program = Program(FUSED)
    assert Traffic(program.computations, program.named).bytes_moved(program.named[name]) == moved
