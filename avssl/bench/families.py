"""To which family of operations each instruction of a compiled program belongs, by what it computes."""

from collections.abc import Iterator

from avssl.plan.collectives import COLLECTIVES
from avssl.plan.instructions import Instruction, called_by
from avssl.plan.program import Program

CONVOLUTION = "convolution"
MATMUL = "matrix products"
COLLECTIVE = "collectives"
GATHER = "gather, scatter"
REDUCTION = "reduction, normalisation"
ELEMENTWISE = "elementwise"
COPY = "copies, layout"
OTHER = "other"

# Of a fusion the first that it has a part of: the arithmetic around a product costs little beside it.
PARTS = {
    CONVOLUTION: {"convolution"},
    MATMUL: {"dot", "ragged-dot", "cholesky", "triangular-solve"},
    COLLECTIVE: {*COLLECTIVES, "send", "recv"},
    GATHER: {"gather", "scatter", "select-and-scatter"},
    REDUCTION: {"reduce", "reduce-window", "batch-norm-training", "batch-norm-grad"},
    OTHER: {"fft", "sort", "topk", "rng", "rng-bit-generator", "infeed", "outfeed", "custom-call", "async"},
}  # fmt: skip
MOVING = {
    "copy", "transpose", "reshape", "bitcast", "broadcast", "slice", "concatenate", "pad", "reverse",
    "dynamic-slice", "dynamic-update-slice", "iota", "convert",
}  # fmt: skip
# Says nothing of what is computed.
FRAME = {"parameter", "constant", "tuple", "get-tuple-element", "fusion", "call"}
LOOPS = {"while", "conditional"}
# By what the name of a library's function has in it: cuDNN, cuBLAS, oneDNN.
LIBRARIES = {
    "conv": CONVOLUTION, "gemm": MATMUL, "matmul": MATMUL, "fmha": MATMUL, "norm": REDUCTION,
    "softmax": REDUCTION,
}  # fmt: skip


def family(program: Program, one: Instruction) -> str:
    """A loop itself is `other`: what it runs has names of its own."""
    if one.opcode in LOOPS:
        return OTHER
    inside = list(parts(program, one))
    opcodes = {part.opcode.removesuffix("-start").removesuffix("-done") for part in inside} - FRAME
    called = next((name for part in inside if (name := library(part))), None)
    if called is not None:
        return called
    for name, members in PARTS.items():
        if opcodes & members:
            return name
    return ELEMENTWISE if opcodes - MOVING else COPY


def parts(program: Program, one: Instruction) -> Iterator[Instruction]:
    """The instruction and what is fused into it; not the addition that a reduction is made with."""
    yield one
    if one.opcode in ("fusion", "call", "async-start"):
        for name in called_by(one):
            for part in program.computations.get(name, ()):
                yield from parts(program, part)


def library(one: Instruction) -> str | None:
    if one.opcode != "custom-call":
        return None
    target = one.text.partition('custom_call_target="')[2].partition('"')[0].lower()
    return next((name for word, name in LIBRARIES.items() if word in target), None)
