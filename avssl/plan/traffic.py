"""What one instruction reads from memory and writes to it, as the compiler's own analysis counts.

Of an array that it takes a slice of, the slice; of one that it updates in place, the update. A loop over layers
would otherwise be charged the parameters and activations of all of them in each.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from avssl.plan.collectives import collective_kind
from avssl.plan.instructions import Instruction, called_by, size, width

CALLS = ("while", "conditional", "call")
# What moves no byte.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", *CALLS}
SLICES = ("slice", "dynamic-slice", "gather", "slice-start")
UPDATES = {"dynamic-update-slice": 1, "scatter": 2}  # which operand is the update
# What needs of its operand no more than is needed of itself.
ONE_TO_ONE = ("bitcast", "copy", "convert", "reshape", "transpose", "pad", "negate")


class Traffic:
    def __init__(
        self,
        computations: Mapping[str, Sequence[Instruction]],
        named: Mapping[str, Instruction],
    ):
        self.computations = computations
        self.named = named
        self._users: dict[str, list[tuple[Instruction, int]]] = defaultdict(list)
        for one in named.values():
            for place, name in enumerate(one.operands):
                self._users[name].append((one, place))

    def bytes_moved(self, one: Instruction) -> float:
        # The second half of an asynchronous pair waits for what the first one moves.
        if one.opcode in FREE or one.opcode.endswith("-done") or calls(one, "AllocateBuffer"):
            return 0.0
        return self.written(one) + sum(
            self.read(one, place, self.named[name])
            for place, name in enumerate(one.operands)
            if name in self.named
        )

    def read(self, user: Instruction, place: int, value: Instruction) -> float:
        """Bytes of an operand that an instruction looks at."""
        if user.opcode == "fusion":
            inside = self._parameters(user)
            return self._needed(inside[place]) if place in inside else value.num_bytes
        if user.opcode in SLICES and place == 0:
            return min(value.num_bytes, size(user.results))
        if user.opcode in UPDATES and place == 0:
            return 0.0
        return value.num_bytes

    def written(self, one: Instruction) -> float:
        if one.opcode == "fusion":
            return sum(self._written_from(name) for name in self._roots(one))
        if one.opcode in UPDATES:
            update = one.operands[UPDATES[one.opcode]]
            return self.named[update].num_bytes if update in self.named else one.num_bytes
        return size(one.results)

    def _needed(self, value: Instruction) -> float:
        """Bytes of a value of a fused computation that anything in it looks at."""
        needed = 0.0
        for user, place in self._users[value.name]:
            passes = user.opcode in ONE_TO_ONE or (user.opcode in UPDATES and place == 0)
            if passes and not self._is_root(user):
                ratio = width_of(value) / width_of(user)
                needed += ratio * self._needed(user)
            elif not self._hands_on(user):
                needed += self.read(user, place, value)
        return min(needed, value.num_bytes)

    def _hands_on(self, user: Instruction) -> bool:
        """A result that is a part of what came in; or a product that a collective goes on beside."""
        carried = bool(collective_kind(user)) and (
            self._is_root(user)
            or any(calls(after, "AsyncCollectiveDone") for after, _ in self._users[user.name])
        )
        return user.opcode == "tuple" or carried or calls(user, "AsyncCollective")

    def _written_from(self, name: str) -> float:
        """For one result of a fusion."""
        one = self.named[name]
        if one.opcode == "bitcast":
            return self._written_from(one.operands[0])
        if one.opcode in UPDATES and not self._is_given(one.operands[0]):
            return one.num_bytes
        if calls(one, "AsyncCollectiveStart"):
            begun = (self.named[operand] for operand in one.operands)
            return sum(size(part.results) for part in begun if collective_kind(part))
        if one.opcode == "parameter" or self._hands_on(one):
            return 0.0
        return self.written(one)

    def _is_given(self, name: str) -> bool:
        """Whether a value is a parameter, as it came in or updated."""
        one = self.named[name]
        while one.opcode in ("bitcast", *UPDATES):
            one = self.named[one.operands[0]]
        return one.opcode == "parameter"

    def _parameters(self, fusion: Instruction) -> dict[int, Instruction]:
        """Those of the fused computation by the place of the operand."""
        body = [one for name in called_by(fusion) for one in self.computations.get(name, ())]
        return {
            int(one.text.partition("parameter(")[2].partition(")")[0]): one
            for one in body
            if one.opcode == "parameter"
        }

    def _roots(self, fusion: Instruction) -> list[str]:
        bodies = [self.computations.get(name, ()) for name in called_by(fusion)]
        last = [one for body in bodies for one in body if one.is_root]
        return [
            name
            for one in last
            for name in (one.operands if one.opcode == "tuple" else (one.name,))
        ]

    def _is_root(self, one: Instruction) -> bool:
        """Or what the root is made of, whole."""
        return one.is_root or any(
            user.opcode in ("tuple", "bitcast") and self._is_root(user)
            for user, _ in self._users[one.name]
        )


def calls(one: Instruction, target: str) -> bool:
    return f'custom_call_target="{target}' in one.text


def width_of(one: Instruction) -> float:
    return width(one.shapes[0][0]) if one.shapes else 1.0
