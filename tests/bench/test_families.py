"""Instructions of compiled programs by what they compute, read from their text."""

import pytest

from avssl.bench.families import (
    COLLECTIVE,
    CONVOLUTION,
    COPY,
    ELEMENTWISE,
    GATHER,
    MATMUL,
    OTHER,
    REDUCTION,
    family,
)
from avssl.plan.program import Program

PROGRAM = """HloModule m
%sum (a.1: f32[], b.1: f32[]) -> f32[] {
  %a.1 = f32[] parameter(0)
  %b.1 = f32[] parameter(1)
  ROOT %add.1 = f32[] add(%a.1, %b.1)
}

%biased (x.2: f32[8,8], w.2: f32[8,8]) -> f32[8,8] {
  %x.2 = f32[8,8]{1,0} parameter(0)
  %w.2 = f32[8,8]{1,0} parameter(1)
  %dot.2 = f32[8,8]{1,0} dot(%x.2, %w.2), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %tanh.2 = f32[8,8]{1,0} tanh(%dot.2)
}

%centred (x.3: f32[8,8]) -> f32[8] {
  %x.3 = f32[8,8]{1,0} parameter(0)
  %zero.3 = f32[] constant(0)
  %square.3 = f32[8,8]{1,0} multiply(%x.3, %x.3)
  ROOT %reduce.3 = f32[8]{0} reduce(%square.3, %zero.3), dimensions={0}, to_apply=%sum
}

%scaled (x.4: f32[8,8]) -> f32[8,8] {
  %x.4 = f32[8,8]{1,0} parameter(0)
  ROOT %multiply.4 = f32[8,8]{1,0} multiply(%x.4, %x.4)
}

%turned (x.5: f32[8,8]) -> f32[64] {
  %x.5 = f32[8,8]{1,0} parameter(0)
  %transpose.5 = f32[8,8]{1,0} transpose(%x.5), dimensions={1,0}
  ROOT %bitcast.5 = f32[64]{0} bitcast(%transpose.5)
}

%outer (x.6: f32[8,8], w.6: f32[8,8]) -> f32[8,8] {
  %x.6 = f32[8,8]{1,0} parameter(0)
  %w.6 = f32[8,8]{1,0} parameter(1)
  ROOT %inner.6 = f32[8,8]{1,0} fusion(%x.6, %w.6), kind=kOutput, calls=%biased
}

%body (x.7: (f32[8,8])) -> (f32[8,8]) {
  ROOT %x.7 = (f32[8,8]{1,0}) parameter(0)
}

%condition (x.8: (f32[8,8])) -> pred[] {
  %x.8 = (f32[8,8]{1,0}) parameter(0)
  ROOT %true.8 = pred[] constant(true)
}

ENTRY %main (x: f32[8,8], k: f32[3,3,8,8], i: s32[4,1]) -> f32[] {
  %x = f32[8,8]{1,0} parameter(0)
  %k = f32[3,3,8,8]{3,2,1,0} parameter(1)
  %i = s32[4,1]{1,0} parameter(2)
  %convolution.1 = f32[8,8]{1,0} convolution(%x, %k), window={size=3x3}, dim_labels=b01f_01io->b01f
  %cudnn.1 = (f32[8,8]{1,0}, u8[0]{0}) custom-call(%x, %k), custom_call_target="__cudnn$convForward"
  %cublas.1 = f32[8,8]{1,0} custom-call(%x, %x), custom_call_target="__cublas$lt$matmul"
  %topk.1 = f32[8,8]{1,0} custom-call(%x), custom_call_target="TopK"
  %biased.1 = f32[8,8]{1,0} fusion(%x, %x), kind=kOutput, calls=%biased
  %nested.1 = f32[8,8]{1,0} fusion(%x, %x), kind=kCustom, calls=%outer
  %centred.1 = f32[8]{0} fusion(%x), kind=kLoop, calls=%centred
  %scaled.1 = f32[8,8]{1,0} fusion(%x), kind=kLoop, calls=%scaled
  %turned.1 = f32[64]{0} fusion(%x), kind=kLoop, calls=%turned
  %called.1 = f32[8,8]{1,0} call(%x), to_apply=%scaled
  %copy-start.1 = (f32[8,8]{1,0}, f32[8,8]{1,0}) copy-start(%x)
  %gather.1 = f32[4,8]{1,0} gather(%x, %i), offset_dims={1}, collapsed_slice_dims={0}
  %all-reduce-start.1 = f32[8,8]{1,0} all-reduce-start(%x), to_apply=%sum
  %sorted.1 = f32[8,8]{1,0} sort(%x), dimensions={0}
  %tuple.1 = (f32[8,8]{1,0}) tuple(%x)
  %while.1 = (f32[8,8]{1,0}) while(%tuple.1), condition=%condition, body=%body
  ROOT %reduce.1 = f32[] reduce(%x, %x), dimensions={0,1}, to_apply=%sum
}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convolution.1", CONVOLUTION),
        ("cudnn.1", CONVOLUTION),
        ("cublas.1", MATMUL),
        ("topk.1", OTHER),
        ("biased.1", MATMUL),
        ("nested.1", MATMUL),
        ("centred.1", REDUCTION),
        ("reduce.1", REDUCTION),
        ("scaled.1", ELEMENTWISE),
        ("called.1", ELEMENTWISE),
        ("turned.1", COPY),
        ("copy-start.1", COPY),
        ("gather.1", GATHER),
        ("all-reduce-start.1", COLLECTIVE),
        ("sorted.1", OTHER),
        ("while.1", OTHER),
    ],
)
def test_family_of(name, expected):
    program = Program(PROGRAM)
    assert family(program, program.named[name]) == expected
