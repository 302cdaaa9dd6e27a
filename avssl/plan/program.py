"""A compiled program, read from its text: what its devices send each other, and what its loops repeat.

The compiler's own cost analysis counts the body of a loop once. Here every instruction is counted as often as
it runs, by the trip counts that the compiler found.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from avssl.plan.collectives import (
    Collective,
    bytes_sent,
    channel,
    collective_kind,
    group_size,
)
from avssl.plan.flops import flops
from avssl.plan.instructions import Instruction, called_by, parse
from avssl.plan.loops import trips
from avssl.plan.traffic import CALLS, Traffic


class Program:
    """The text of a compiled program as instructions by computation, and how often each computation runs."""

    def __init__(self, text: str):
        self.computations, entry = parse(text)
        self.named = {one.name: one for body in self.computations.values() for one in body}
        # How often each computation runs, and how often with every loop taken once.
        self.runs: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._count(entry, 1, 1)
        self._callers: dict[str, list[tuple[str, Instruction]]] = defaultdict(list)
        for name, body in self.computations.items():
            for one in body:
                for called in called_by(one):
                    self._callers[called].append((name, one))

    def collectives(self, num_devices: int) -> list[Collective]:
        """Each once, however many instructions carry it on.

        On TPUs the start of an asynchronous collective, each product that it runs beside and its end are fused
        computations, and the collective stands in each, under one channel. Outside of those a channel says
        nothing: late passes of the compiler give all that they add the same one.
        """
        met: dict[tuple[str, ...], list[tuple[Instruction, set[str]]]] = defaultdict(list)
        for name, body in self.computations.items():
            for one in body:
                if kind := self._collective_kind(name, one, num_devices):
                    homes = self._homes(name)
                    own = (name, one.name) if homes == {name} else (channel(one) or one.name,)
                    met[kind, *own].append((one, homes))
        started = {
            name
            for one in self.named.values()
            if 'custom_call_target="AsyncCollectiveStart"' in one.text
            for name in one.operands
        }
        found = []
        for (kind, *_), parts in met.items():
            begun = [part for part in parts if part[0].name in started] or parts
            sent = bytes_sent(kind, begun[0][0], num_devices)
            for home in set().union(*(homes for _, homes in begun)):
                if runs := self.runs[home]:
                    found.append(Collective(kind, runs, runs * sent))
        return found

    def flops(self, one: Instruction) -> float:
        """Of a product, a convolution or a library's; other arithmetic is not counted."""
        return flops(one, self._shape) or 0.0

    def flops_once(self) -> float:
        """Of products, with every loop taken once, as the cost analysis takes it."""
        return sum(
            self.calls[name] * self.flops(one)
            for name, body in self.computations.items()
            for one in body
        )

    def repeated_flops(self) -> float:
        """Of products in loops, beyond the one time that the cost analysis counts."""
        return sum(again * self.flops(one) for one, again in self._repeated(self.computations))

    def repeated_bytes(self) -> float:
        """Read and written by loops, beyond the one time that the cost analysis counts."""
        outside = self.computations.keys() - self._fused()
        traffic = Traffic(self.computations, self.named)
        return sum(again * traffic.bytes_moved(one) for one, again in self._repeated(outside))

    def has_loops(self) -> bool:
        return any(one.opcode == "while" for one, _ in self.instructions())

    def unknown_loops(self) -> list[str]:
        """Names of those that count once since nobody can tell how often they run."""
        return [one.name for one, _ in self.instructions() if self._trips(one) is None]

    def unknown_products(self) -> list[str]:
        """Names of the calls of libraries whose arithmetic is not counted."""
        return [one.name for one, _ in self.instructions() if flops(one, self._shape) is None]

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
            again = self._trips(one)
            for called in called_by(one):
                self._count(called, runs * (1 if again is None else again), calls)

    def _trips(self, one: Instruction) -> int | None:
        return trips(one, self.computations, self.named) if one.opcode == "while" else 1

    def _shape(self, name: str) -> tuple[int, ...]:
        one = self.named.get(name)
        return one.shapes[0][1] if one and one.shapes else ()

    def instructions(self) -> Iterator[tuple[Instruction, int]]:
        """Each with how often it runs."""
        for name, instructions in self.computations.items():
            for one in instructions:
                if self.runs[name]:
                    yield one, self.runs[name]

    def _collective_kind(self, name: str, one: Instruction, num_devices: int) -> str:
        kind = collective_kind(one)
        if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
            # How TPUs write a reduce-scatter: the caller gets its own part of the sum alone.
            members = group_size(one, num_devices)
            if all(part.num_bytes * members <= one.num_bytes for _, part in self._callers[name]):
                return "reduce-scatter"
        return kind

    def _homes(self, name: str) -> set[str]:
        """The computation itself, or those whose instructions it is fused into."""
        homes = set()
        for caller, one in self._callers[name]:
            homes |= {name} if one.opcode in CALLS else self._homes(caller)
        return homes or {name}

    def _fused(self) -> set[str]:
        """Computations whose inner values never reach the chip's memory."""
        return {
            called
            for body in self.computations.values()
            for one in body
            if one.opcode not in CALLS
            for called in called_by(one)
        }
