"""A compiled program, read from its text: what its devices send each other, and what its loops repeat.

The compiler's own cost analysis counts the body of a loop once. Here every instruction is counted as often as
it runs, by the trip counts that the compiler found.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+)$")
OPCODE = re.compile(r"(?:^|[\s)}\]])([a-z][\w\-]*)\(")
CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
    r"|\bbranch_computations=\{([^}]*)\}"
)
TRIPS = re.compile(r"known_trip_count[^0-9]*(\d+)")
ARRAY = re.compile(r"\b(pred|[subf]\d+|bf16|f8\w*|c64|c128|token)\[([\d,]*)\]")
OPERAND = re.compile(r"%([\w.\-]+)")
WIDTHS = {"pred": 1, "token": 0, "c64": 8, "c128": 16, "bf16": 2}
# Kinds by the name of the instruction; the `-done` half of an asynchronous pair repeats its result.
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
GROUP = re.compile(r"replica_groups=(?:\{\{([\d,]+)\}|\[(\d+),(\d+)\])")
# What moves no byte.
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call"
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    opcode: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    operands: tuple[str, ...]
    text: str

    @property
    def num_bytes(self) -> float:
        return sum(width(kind) * math.prod(shape) for kind, shape in self.shapes)


@dataclasses.dataclass(frozen=True)
class Collective:
    """bytes_sent: by one device, at best (ring or torus): 2 (n-1)/n of what an all-reduce sums, and so on."""

    kind: str
    runs: int
    bytes_sent: float


class Program:
    """The text of a compiled program as instructions by computation, and how often each computation runs."""

    def __init__(self, text: str):
        self.computations, entry = parse(text)
        self.named = {one.name: one for body in self.computations.values() for one in body}
        # How often each computation runs, and how often with every loop taken once.
        self.runs: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._count(entry, 1, 1)

    def collectives(self, num_devices: int) -> list[Collective]:
        return [
            Collective(kind, runs, runs * bytes_sent(kind, one, num_devices))
            for one, runs in self.instructions()
            if (kind := collective_kind(one))
        ]

    def repeated_flops(self) -> float:
        """Of products in loops, beyond the one time that the cost analysis counts."""
        return sum(again * self.flops(one) for one, again in self._repeated(self.computations))

    def repeated_bytes(self) -> float:
        """Read and written by loops, beyond the one time that the cost analysis counts."""
        outside = self.computations.keys() - self._fused()
        return sum(again * self.bytes_moved(one) for one, again in self._repeated(outside))

    def flops(self, one: Instruction) -> float:
        """Of a matrix product or a convolution; other arithmetic is not counted."""
        out = math.prod(one.shapes[0][1]) if one.shapes else 0
        if one.opcode == "dot":
            left = self._shape(one.operands[0])
            axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.text)
            summed = (
                [left[int(axis)] for axis in axes[1].split(",") if axis] if axes and left else []
            )
            return 2 * out * math.prod(summed)
        if one.opcode == "convolution":
            kernel = self._shape(one.operands[1])
            labels = re.search(r"dim_labels=\w+_(\w+)->", one.text)
            if kernel and labels:
                return 2 * out * math.prod(kernel) / kernel[labels[1].index("o")]
        return 0.0

    def bytes_moved(self, one: Instruction) -> float:
        """Its operands and its result."""
        if one.opcode in FREE:
            return 0
        read = (self.named[name].num_bytes for name in one.operands if name in self.named)
        return one.num_bytes + sum(read)

    def _repeated(self, names: Iterable[str]) -> Iterator[tuple[Instruction, int]]:
        """The instructions of these computations, and how often loops run them beyond once."""
        for name in names:
            if again := self.runs[name] - self.calls[name]:
                for one in self.computations[name]:
                    yield one, again

    def _count(self, name: str, runs: int, calls: int) -> None:
        self.runs[name] += runs
        self.calls[name] += calls
        for one in self.computations.get(name, ()):
            trips = 1
            if one.opcode == "while" and (found := TRIPS.search(one.text)):
                trips = int(found[1])
            for called in called_by(one):
                self._count(called, runs * trips, calls)

    def _shape(self, name: str) -> tuple[int, ...]:
        one = self.named.get(name)
        return one.shapes[0][1] if one and one.shapes else ()

    def instructions(self) -> Iterator[tuple[Instruction, int]]:
        """Each with how often it runs."""
        for name, instructions in self.computations.items():
            for one in instructions:
                if self.runs[name]:
                    yield one, self.runs[name]

    def _fused(self) -> set[str]:
        """Computations whose inner values never reach the chip's memory."""
        return {
            called
            for body in self.computations.values()
            for one in body
            if one.opcode not in ("while", "conditional", "call")
            for called in called_by(one)
        }


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
            computations[current].append(instruction(found[1], found[2]))
        elif line.startswith("}"):
            current = ""
    return computations, entry


def instruction(name: str, right: str) -> Instruction:
    opcode = OPCODE.search(right)
    if opcode is None:
        return Instruction(name, "", (), (), right)
    result, rest = right[: opcode.start(1)], right[opcode.end() :]
    inside = rest[: closing(rest)]
    shapes = tuple((kind, dims(sizes)) for kind, sizes in ARRAY.findall(result))
    return Instruction(name, opcode[1], shapes, tuple(OPERAND.findall(inside)), right)


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


def collective_kind(one: Instruction) -> str:
    """Empty for what is none; the second half of an asynchronous pair sends nothing more."""
    return next((kind for kind in COLLECTIVES if one.opcode in (kind, f"{kind}-start")), "")


def bytes_sent(kind: str, one: Instruction, num_devices: int) -> float:
    """By one device, at best: what rings send."""
    members = group_size(one, num_devices)
    # The start of an asynchronous one gives its operands back beside its results.
    arrays = [width(dtype) * math.prod(shape) for dtype, shape in one.shapes]
    if one.opcode.endswith("-start") and kind in ("all-gather", "collective-permute"):
        total = max(arrays, default=0)
    else:
        total = sum(arrays)
    share = (members - 1) / members
    if kind == "all-reduce":
        return 2 * share * total
    if kind == "reduce-scatter":
        return share * total * members
    if kind == "collective-permute":
        return total
    return share * total


def group_size(one: Instruction, num_devices: int) -> int:
    """How many devices speak with each other."""
    found = GROUP.search(one.text)
    if found is None:
        return num_devices
    return found[1].count(",") + 1 if found[1] else int(found[3])
