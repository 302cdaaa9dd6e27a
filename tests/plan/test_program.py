"""Compiled programs read from their text, against what they were made of."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from avssl.errors import AvsslError
from avssl.plan.collectives import bytes_sent, collective_kind, group_size
from avssl.plan.instructions import instruction
from avssl.plan.program import Program


def compiled_text(function, *shapes, shardings=None, out=None):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    keywords = {} if shardings is None else {"in_shardings": shardings, "out_shardings": out}
    return jax.jit(function, **keywords).lower(*arguments).compile().as_text()


def loops(x, w):
    return jax.lax.scan(lambda carry, _: (jnp.tanh(carry @ w), None), x, None, length=7)[0]


def test_a_loop_counts_as_often_as_it_runs():
    program = Program(compiled_text(loops, (16, 32), (32, 32)))
    once = 2 * 16 * 32 * 32
    assert sum(program.flops(one) for one, _ in program.instructions()) == once
    assert program.repeated_flops() == 6 * once
    # At least the carried rows and the weights, each time.
    assert program.repeated_bytes() >= 6 * 4 * (16 * 32 + 32 * 32)


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        (
            """HloModule m
ENTRY %main (a: f32[4,8], b: f32[8,3]) -> f32[4,3] {
  %a = f32[4,8]{1,0} parameter(0)
  %b = f32[8,3]{1,0} parameter(1)
  ROOT %dot.1 = f32[4,3]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
""",
            2 * 4 * 3 * 8,
        ),
        (
            """HloModule m
ENTRY %main (a: f32[2,8,8,3], b: f32[3,3,3,5]) -> f32[2,6,6,5] {
  %a = f32[2,8,8,3]{3,2,1,0} parameter(0)
  %b = f32[3,3,3,5]{3,2,1,0} parameter(1)
  ROOT %c = f32[2,6,6,5]{3,2,1,0} convolution(%a, %b), window={size=3x3}, dim_labels=b01f_01io->b01f
}
""",
            2 * (2 * 6 * 6 * 5) * (3 * 3 * 3),
        ),
    ],
)
def test_products(text, flops):
    program = Program(text)
    assert sum(program.flops(one) for one, _ in program.instructions()) == flops


NESTED = """HloModule m
%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %p = (s32[], f32[4]) parameter(0)
  %x = f32[4]{0} get-tuple-element(%p), index=1
  %i = s32[] get-tuple-element(%p), index=0
  %sum = f32[4]{0} all-reduce(%x), channel_id=1, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %t = (s32[], f32[4]) tuple(%i, %sum)
}
%outer (q: (s32[], f32[4])) -> (s32[], f32[4]) {
  %q = (s32[], f32[4]) parameter(0)
  ROOT %w = (s32[], f32[4]) while(%q), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"3"}}
}
ENTRY %main (r: (s32[], f32[4])) -> (s32[], f32[4]) {
  %r = (s32[], f32[4]) parameter(0)
  ROOT %w2 = (s32[], f32[4]) while(%r), condition=%c, body=%outer, backend_config={"known_trip_count":{"n":"5"}}
}
"""


CALLED_TWICE = """HloModule m
%part (p: f32[4,4]) -> f32[4,4] {
  %p = f32[4,4]{1,0} parameter(0)
  ROOT %d = f32[4,4]{1,0} dot(%p, %p), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
ENTRY %main (r: f32[4,4]) -> f32[4,4] {
  %r = f32[4,4]{1,0} parameter(0)
  %once = f32[4,4]{1,0} call(%r), to_apply=%part
  ROOT %twice = f32[4,4]{1,0} call(%once), to_apply=%part
}
"""


def test_what_is_called_twice_is_no_loop():
    program = Program(CALLED_TWICE)
    assert program.runs["part"] == 2
    # The compiler counts every call by itself.
    assert program.repeated_flops() == program.repeated_bytes() == 0


def test_loops_within_loops():
    (found,) = Program(NESTED).collectives(8)
    assert (found.kind, found.runs) == ("all-reduce", 15)
    # A ring of four: 2 * 3/4 of 16 bytes, fifteen times.
    assert found.bytes_sent == 15 * 2 * 3 / 4 * 16


@pytest.mark.parametrize(
    ("right", "sent"),
    [
        ("f32[8,4]{1,0} all-gather(%x), replica_groups=[1,8]<=[8], dimensions={0}", 7 / 8 * 128),
        ("f32[1,4]{1,0} reduce-scatter(%x), replica_groups=[1,8]<=[8], to_apply=%add", 7 * 16),
        ("bf16[8]{0} all-to-all(%x), replica_groups={{0,1}}", 16 / 2),
        ("f32[4]{0} collective-permute(%x), source_target_pairs={{0,1}}", 16),
        (
            "(f32[1,4]{1,0}, f32[8,4]{1,0}) all-gather-start(%x), replica_groups=[1,8]<=[8]",
            7 / 8 * 128,
        ),
        (
            "((f32[1,4]{1,0}, f32[2]{0}), (f32[8,4]{1,0}, f32[16]{0})) all-gather-start(%x, %y), "
            "replica_groups=[1,8]<=[8], dimensions={0}",
            7 / 8 * (128 + 64),
        ),
        (
            "(f32[4]{0}, f32[4]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%x), "
            "source_target_pairs={{0,1}}",
            16,
        ),
        ("f32[4]{0} collective-broadcast(%x), replica_groups={{0,1}}", 16 / 2),
        ("f32[8]{0} ragged-all-to-all(%x, %y, %i, %j, %k, %l), replica_groups={{0,1}}", 32 / 2),
    ],
)
def test_bytes_of_a_ring(right, sent):
    one = instruction("c", right)
    assert bytes_sent(collective_kind(one), one, 8) == sent


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{}", 16),
        ("{{0,1,2,3},{4,5,6,7},{8,9,10,11},{12,13,14,15}}", 4),
        ("[2,8]<=[4,4]T(1,0)", 8),
        ("mesh['axis_0'=16,'axis_1'=1] {'axis_0'}", 16),
        ("mesh['axis_0'=4,'axis_1'=1,'axis_2'=4], device_ids=([4,4]T(1,0)) {'axis_2'}", 4),
        ("mesh['data'=2,'fsdp'=8] {'data','fsdp'}", 16),
        ("mesh['data'=2,'fsdp'=8] {'data','fsdp':(2)4}", 8),
        ("mesh['data'=2,'fsdp'=8] {}", 1),
    ],
)
def test_how_many_devices_speak_with_each_other(groups, size):
    one = instruction("c", f"f32[8]{{0}} all-reduce(%x), replica_groups={groups}, to_apply=%add")
    assert group_size(one, 16) == size


@pytest.mark.parametrize(
    "groups", [", replica_groups=ring(4)", ", replica_groups=mesh['a'=4] {'b'}", ""]
)
def test_an_unknown_form_of_groups_is_refused(groups):
    one = instruction("sum", f"f32[8]{{0}} all-reduce(%x){groups}, to_apply=%add")
    with pytest.raises(AvsslError, match="'sum' is over, which is no known form"):
        bytes_sent("all-reduce", one, 16)


# Of six products of [64, 256] rows with [256, 256] parameters and their gradients, on v5e:4x4 with fsdp=4.
TPU_STEP = Path(__file__).with_name("tpu_step.txt").read_text()


def by_kind_of(text):
    found = {}
    for one in Program(text).collectives(16):
        runs, sent = found.get(one.kind, (0, 0))
        found[one.kind] = runs + one.runs, sent + one.bytes_sent
    return found


def test_collectives_of_a_tpu_are_counted_once():
    part = 64 * 256
    assert by_kind_of(TPU_STEP) == {
        # One in three fused computations and one that nothing runs beside, in bf16.
        "all-gather": (2, 2 * 3 * part * 2),
        # Written as an all-reduce of which each device keeps its part.
        "reduce-scatter": (1, 3 * part * 4),
        "all-reduce": (1, 6 * 2 * 3 / 4 * part * 4),
        # Two under one channel.
        "collective-permute": (2, 2 * 48 * 2048 * 4),
    }


def test_a_sum_that_is_kept_whole_is_no_reduce_scatter():
    whole = TPU_STEP.replace(
        "%fusion = f32[64,256]{1,0:T(8,128)S(1)} fusion(%fusion.6)",
        "%fusion = f32[256,256] fusion(%x)",
    )
    assert "reduce-scatter" not in by_kind_of(whole)
    assert by_kind_of(whole)["all-reduce"][0] == 2


def test_what_a_loop_carries_on_is_sent_once():
    """As an all-gather that is begun before a product in parts and ended after it."""
    (product,) = (line for line in TPU_STEP.splitlines() if line.startswith("  %fusion.49 ="))
    text = TPU_STEP.replace(
        product,
        "  %w = (s32[]) while(%t), condition=%c, body=%b, "
        'backend_config={"known_trip_count":{"n":"4"}}',
    ).replace("ENTRY", f"%b (p: (s32[])) -> (s32[]) {{\n{product}\n}}\n\nENTRY")
    assert Program(text).runs["async_collective_fusion.49"] == 4
    assert by_kind_of(text) == by_kind_of(TPU_STEP)


TPU_LOOP = Path(__file__).with_name("tpu_loop.txt").read_text()


@pytest.mark.parametrize(
    ("old", "new", "trips"),
    [
        ("", "", 6),
        ("s32[]{:T(128)} constant(6)", "s32[]{:T(128)} constant(7)", 7),
        ("s32[]{:T(128)} constant(0)", "s32[]{:T(128)} constant(2)", 4),
        ("s32[]{:T(128)} constant(1)", "s32[]{:T(128)} constant(4)", 2),
        # Loops of which nobody can tell.
        ("direction=LT", "direction=NE", 1),
        (
            "s32[]{:T(128)} constant(6)",
            "s32[]{:T(128)} get-tuple-element(%wide.param.1), index=6",
            1,
        ),
        ("copy(%constant.59.clone)", "copy(%param.5)", 1),
        ("add(%copy.9", "multiply(%copy.9", 1),
    ],
)
def test_loops_of_a_tpu_count_as_often_as_they_run(old, new, trips):
    assert not old or old in TPU_LOOP
    program = Program(TPU_LOOP.replace(old, new) if old else TPU_LOOP)
    assert len(program.unknown_loops()) == (trips == 1)
    (found,) = program.collectives(16)
    assert (found.kind, found.runs) == ("all-gather", trips)
    assert found.bytes_sent == trips * 3 / 4 * 2048 * 2048 * 2


def test_a_sum_over_devices_is_found_with_its_bytes():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows, whole = (NamedSharding(mesh, PartitionSpec(axis)) for axis in ("data", None))
    text = compiled_text(
        lambda x, w: (x @ w).sum(axis=0), (64, 16), (16, 32), shardings=(rows, whole), out=whole
    )
    (found,) = Program(text).collectives(8)
    assert found.kind == "all-reduce"
    assert found.bytes_sent == 2 * 7 / 8 * 32 * 4
