"""Arithmetic of single instructions and of whole programs, against what they were made of."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from avssl.plan.compiled import flops_of, how_counted
from avssl.plan.flops import convolution_flops, flops, meetings
from avssl.plan.instructions import instruction
from avssl.plan.program import Program

# Five layers of attention over [4, 128, 2, 64] in a scan, on v5e.
TPU_ATTENTION = Path(__file__).with_name("tpu_attention.txt").read_text()


def test_attention_in_a_loop_of_a_tpu():
    """Its products are convolutions that the rows of the batch are dilated for."""
    layer = 2 * 4 * 128 * 128 * 384 + 4 * 4 * 2 * 128 * 128 * 64
    program = Program(TPU_ATTENTION)
    assert program.flops_once() == layer
    assert program.repeated_flops() == 4 * layer
    assert how_counted(program) == ["loops as often as they run"]


@pytest.mark.parametrize("rhs_dilation", [1, 2])
@pytest.mark.parametrize("lhs_dilation", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1), (-1, 3)])
def test_convolutions_count_where_the_kernel_meets_data(
    padding, stride, lhs_dilation, rhs_dilation
):
    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (stride, 1), [padding, (1, 1)], (lhs_dilation, 1), (rhs_dilation, 1),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    shapes = (2, 9, 8, 3), (3, 3, 3, 5)
    lowered = jax.jit(convolve).lower(*(jax.ShapeDtypeStruct(one, jnp.float32) for one in shapes))
    text = lowered.compiler_ir("hlo").as_hlo_text()
    (line,) = (line for line in text.splitlines() if " convolution(" in line)
    # Of ones, each result is the number of pairs that it is the sum of.
    made = convolve(*map(jnp.ones, shapes))
    assert convolution_flops(line, *shapes, made.shape) == 2 * made.sum()


def test_rows_that_are_not_there_meet_nothing():
    # A sound of 100 numbers, padded to both sides, and a kernel of 3 places; then all of it turned round.
    assert meetings(100, 3, 102, 1, 2, 1, 1) == meetings(100, 102, 3, 1, 2, 1, 1) == 300


CONFIG = 'backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}'
WINDOW = "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f"
SCORES = (
    'backend_config={"cudnn_fmha_backend_config":{"intermediate_tensor_shape":{"element_type":"BF16",'
    '"dimensions":["4","12","64","32"],"tuple_shapes":[]},"mask_type":"NO_MASK"}}'
)
FORWARD = (
    2 * 8 * 6 * (3 * 4 - 2) ** 2
)  # positions of a 3 x 3 kernel on 4 x 4 numbers that are not padding


def library(result, target, rest):
    operands = "%a, %b"
    return f'{result} custom-call({operands}), custom_call_target="{target}", {rest}'


@pytest.mark.parametrize(
    ("right", "shapes", "expected"),
    [
        (library("bf16[8,16]{1,0}", "__cublas$gemm", CONFIG), [(8, 32), (32, 16)], 2 * 8 * 16 * 32),
        (
            library("(bf16[8,16]{1,0}, s8[4096]{0})", "__cublas$lt$matmul", CONFIG),
            [(8, 32), (32, 16)],
            2 * 8 * 16 * 32,
        ),
        (
            library("(f32[1,4,4,6]{3,2,1,0}, u8[0]{0})", "__cudnn$convForward", WINDOW),
            [(1, 4, 4, 8), (3, 3, 8, 6)],
            FORWARD,
        ),
        (
            library("(f32[1,4,4,8]{3,2,1,0}, u8[0]{0})", "__cudnn$convBackwardInput", WINDOW),
            [(1, 4, 4, 6), (3, 3, 8, 6)],
            FORWARD,
        ),
        (
            library("(f32[3,3,8,6]{3,2,1,0}, u8[0]{0})", "__cudnn$convBackwardFilter", WINDOW),
            [(1, 4, 4, 8), (1, 4, 4, 6)],
            FORWARD,
        ),
        (
            library("(bf16[4,12,64,128]{3,1,2,0}, u8[0]{0})", "__cudnn$fmhaSoftmax", SCORES),
            [(4, 64, 12, 128), (4, 32, 12, 128)],
            2 * 2 * 4 * 12 * 64 * 32 * 128,
        ),
        (
            library("(bf16[4,12,64,128]{3,1,2,0}, u8[0]{0})", "__cudnn$fmhaSoftmaxBackward", SCORES),
            [(4, 64, 12, 128), (4, 32, 12, 128)],
            5 * 2 * 4 * 12 * 64 * 32 * 128,
        ),
        (library("f32[8]{0}", "__cudnn$convStrange", ""), [(8,), (8,)], None),
        (library("f32[8]{0}", "TopK", ""), [(8,), (8,)], 0),
    ],
)  # fmt: skip
def test_what_libraries_of_a_gpu_compute(right, shapes, expected):
    operands = dict(zip(("a", "b"), shapes, strict=True))
    assert flops(instruction("c", right), operands.__getitem__) == expected


GPU_LOOP = """HloModule m
%body (p: (s32[], bf16[8,8])) -> (s32[], bf16[8,8]) {
  %p = (s32[], bf16[8,8]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = bf16[8,8]{1,0} get-tuple-element(%p), index=1
  %g = bf16[8,8]{1,0} custom-call(%x, %x), custom_call_target="__cublas$gemm", CONFIG
  ROOT %t = (s32[], bf16[8,8]) tuple(%i, %g)
}
ENTRY %main (r: (s32[], bf16[8,8])) -> (s32[], bf16[8,8]) {
  %r = (s32[], bf16[8,8]) parameter(0)
  ROOT %w = (s32[], bf16[8,8]) while(%r), condition=%c, body=%body, KNOWN
}
"""
KNOWN = 'backend_config={"known_trip_count":{"n":"3"}}'


class Compiled:
    """One whose analysis leaves libraries out."""

    def cost_analysis(self):
        return {"flops": 10.0}


def test_products_of_libraries_count_in_loops_and_out_of_them():
    program = Program(GPU_LOOP.replace("CONFIG", CONFIG).replace("KNOWN", KNOWN))
    assert flops_of(Compiled(), program) == 3 * 2 * 8**3


def test_what_nobody_can_count_is_said():
    program = Program(GPU_LOOP)
    assert flops_of(Compiled(), program) == 10
    assert how_counted(program) == [
        "loops as often as they run",
        "but 1 of them, whose length nobody can tell, once",
        "without 1 library calls whose arithmetic is not known",
    ]
