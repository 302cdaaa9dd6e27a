"""The text of a compiled program as instructions."""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.+)$")
OPCODE = re.compile(r"(?:^|[\s)}\]])([a-z][\w\-]*)\(")
CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
    r"|\bbranch_computations=\{([^}]*)\}"
)
ARRAY = re.compile(r"\b(pred|[subf]\d+|bf16|f8\w*|c64|c128|token)\[([\d,]*)\]")
OPERAND = re.compile(r"%([\w.\-]+)")
WIDTHS = {"pred": 1, "token": 0, "c64": 8, "c128": 16, "bf16": 2}
# Their result is a tuple of what they take, what they give and what they wait by.
STARTS = (
    "all-gather-start",
    "collective-permute-start",
    "copy-start",
    "slice-start",
    "async-start",
)

Array = tuple[str, tuple[int, ...]]  # the type of its numbers, and its shape


@dataclasses.dataclass(frozen=True)
class Instruction:
    """is_root: its result is that of its computation."""

    name: str
    opcode: str
    shapes: tuple[Array, ...]
    operands: tuple[str, ...]
    text: str
    is_root: bool = False

    @property
    def num_bytes(self) -> float:
        return size(self.shapes)

    @property
    def results(self) -> Sequence[Array]:
        """What it gives: of the start of an asynchronous one, without the operands that it gives back."""
        if self.opcode not in STARTS:
            return self.shapes
        arrays = [array for array in self.shapes if array[1]]
        return arrays[len(arrays) // 2 :]


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """(instructions by computation, the name of the one that the program starts with)."""
    computations: dict[str, list[Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if head := COMPUTATION.match(line):
            current = head[2]
            computations[current] = []
            entry = current if head[1] else entry
        elif current and (found := INSTRUCTION.match(line)):
            computations[current].append(instruction(found[2], found[3], is_root=bool(found[1])))
        elif line.startswith("}"):
            current = ""
    return computations, entry


def instruction(name: str, right: str, *, is_root: bool = False) -> Instruction:
    opcode = OPCODE.search(right)
    if opcode is None:
        return Instruction(name, "", (), (), right, is_root)
    result, rest = right[: opcode.start(1)], right[opcode.end() :]
    inside = rest[: closing(rest)]
    shapes = tuple((kind, dims(sizes)) for kind, sizes in ARRAY.findall(result))
    return Instruction(name, opcode[1], shapes, tuple(OPERAND.findall(inside)), right, is_root)


def closing(text: str) -> int:
    """Where the parenthesis closes that was open before the text."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place
    return len(text)


def dims(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size)


def size(arrays: Iterable[Array]) -> float:
    """Bytes of all of them."""
    return sum(width(kind) * math.prod(shape) for kind, shape in arrays)


def width(kind: str) -> float:
    """Bytes of one element."""
    if kind in WIDTHS:
        return WIDTHS[kind]
    if kind.startswith("f8"):
        return 1
    return int(kind[1:]) / 8


def called_by(one: Instruction) -> list[str]:
    names = []
    for single, several in CALLED.findall(one.text):
        names += [single] if single else [name.strip().lstrip("%") for name in several.split(",")]
    return names
