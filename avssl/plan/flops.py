"""Multiplications and additions of one instruction: a product, a convolution, or a library's of either kind.

Other arithmetic is not counted: beside products it costs little.
"""

import functools
import math
import re
from collections.abc import Callable

import numpy as np

from avssl.plan.instructions import Instruction

Shape = tuple[int, ...]

CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
WINDOW = re.compile(r"\bwindow=\{([^}]*)\}")
LABELS = re.compile(r"\bdim_labels=([\w?]+)_([\w?]+)->([\w?]+)")
BATCH_GROUPS = re.compile(r"\bbatch_group_count=(\d+)")
LIBRARY = re.compile(r'custom_call_target="([^"]*)"')
# In the configurations that GPU libraries are called with.
GEMM_CONTRACTED = re.compile(r'"lhs_contracting_dimensions":\[([^\]]*)\]')
SCORES = re.compile(r'"intermediate_tensor_shape":\{[^\[]*"dimensions":\[([^\]]*)\]')
NUMBER = re.compile(r"\d+")
# Parts of the names of what computes products.
MULTIPLIERS = ("gemm", "matmul", "conv", "fmha")


def flops(one: Instruction, shape_of: Callable[[str], Shape]) -> float | None:
    """None of a library's product that is not known; shape_of: of an operand by its name."""
    out = one.shapes[0][1] if one.shapes else ()
    if one.opcode == "dot":
        left, summed = shape_of(one.operands[0]), CONTRACTED.search(one.text)
        return product_flops(out, left, summed[1] if summed else "")
    if one.opcode == "convolution":
        left, kernel = map(shape_of, one.operands[:2])
        return convolution_flops(one.text, left, kernel, out)
    if one.opcode == "custom-call" and (called := LIBRARY.search(one.text)):
        return library_flops(called[1].lower(), one, [shape_of(name) for name in one.operands], out)
    return 0.0


def product_flops(out: Shape, left: Shape, summed: str) -> float:
    """summed: the axes of the left factor that are summed over, as text."""
    axes = [int(axis) for axis in NUMBER.findall(summed)]
    return 2.0 * math.prod(out) * math.prod(left[axis] for axis in axes if axis < len(left))


def library_flops(called: str, one: Instruction, operands: list[Shape], out: Shape) -> float | None:
    if not any(part in called for part in MULTIPLIERS):
        return 0.0
    if "fmha" in called and (scores := SCORES.search(one.text)) and operands:
        # Forward scores and values; backward the scores anew, and a gradient for each factor of the two.
        products = 5 if "backward" in called else 2
        size = math.prod(int(axis) for axis in NUMBER.findall(scores[1]))
        return products * 2.0 * size * operands[0][-1]
    if "gemm" in called or "cublas" in called:
        summed = GEMM_CONTRACTED.search(one.text)
        return product_flops(out, operands[0], summed[1]) if summed and operands else None
    if "cudnn$conv" in called and len(operands) > 1:
        # Of all three the labels are those of the convolution forward: data, kernel, result.
        data, kernel, result = operands[0], operands[1], out
        if "backwardinput" in called:
            data, result = out, operands[0]
        elif "backwardfilter" in called:
            kernel, result = out, operands[1]
        return convolution_flops(one.text, data, kernel, result)
    return None


def convolution_flops(text: str, data: Shape, kernel: Shape, out: Shape) -> float | None:
    """Of the positions at which the kernel meets data: not padding, nor the zeros that dilation puts in.

    Compilers write much as a convolution that is mostly such: on TPUs a product for each row of a batch has the
    batch as an axis of data that are dilated until the kernel meets one row at a time.
    """
    labels = LABELS.search(text)
    if labels is None or not len(data) == len(kernel) == len(out) == len(labels[1]):
        return None
    window = WINDOW.search(text)
    fields = dict(field.split("=") for field in window[1].split()) if window else {}
    positions = 1
    for axis in range(len(fields.get("size", "").split("x")) if "size" in fields else 0):

        def numbers(field: str, default: str, axis: int = axis) -> list[int]:
            sides = fields[field].split("x") if field in fields else [default] * (axis + 1)
            return [int(number) for number in sides[axis].split("_")]

        label = str(axis)
        positions *= meetings(
            data[labels[1].index(label)], kernel[labels[2].index(label)], out[labels[3].index(label)],
            numbers("stride", "1")[0], numbers("pad", "0_0")[0],
            numbers("lhs_dilate", "1")[0], numbers("rhs_dilate", "1")[0],
        )  # fmt: skip
    groups = BATCH_GROUPS.search(text)
    rows = data[labels[1].index("b")] // (int(groups[1]) if groups else 1)
    channels = kernel[labels[2].index("i")] * kernel[labels[2].index("o")]
    return 2.0 * rows * channels * positions


@functools.cache
def meetings(
    data: int, kernel: int, out: int, stride: int, before: int, spread: int, dilation: int
) -> int:
    """Along one axis: how many pairs of a kernel's place and a result's meet a number of the data.

    before: padding. spread: how far apart the numbers of the data lie, with zeros between.
    """
    of_out = np.arange(out) * stride - before
    of_kernel = np.arange(kernel) * dilation
    few, many = sorted((of_out, of_kernel), key=len)
    found = 0
    for start in few:
        place = many + start
        found += int(((place % spread == 0) & (place >= 0) & (place < data * spread)).sum())
    return found
