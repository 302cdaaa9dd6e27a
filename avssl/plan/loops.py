"""How often the body of a loop runs, from the text of a compiled program.

Compilers for CPUs and GPUs write down what they found. That of TPUs does not: there it is read from where the
counter begins, what the body adds to it and what the condition compares it with.
"""

import math
import re
from collections.abc import Mapping, Sequence

from avssl.plan.instructions import Instruction

KNOWN = re.compile(r"known_trip_count[^0-9]*(\d+)")
PARTS = re.compile(r"\b(condition|body)=%?([\w.\-]+)")
INDEX = re.compile(r"\bindex=(\d+)")
NUMBER = re.compile(r"\bconstant\((-?\d+)\)")
# Between a number and its use.
SAME = ("copy", "bitcast", "convert")


def trips(
    loop: Instruction,
    computations: Mapping[str, Sequence[Instruction]],
    named: Mapping[str, Instruction],
) -> int | None:
    """None where nobody can tell: a loop that goes on until its values say stop."""
    if known := KNOWN.search(loop.text):
        return int(known[1])

    def origin(name: str) -> Instruction | None:
        one = named.get(name)
        while one is not None and one.opcode in SAME:
            one = named.get(one.operands[0])
        return one

    def number(name: str) -> int | None:
        one = origin(name)
        found = NUMBER.search(one.text) if one else None
        return int(found[1]) if found else None

    def place(name: str) -> int | None:
        """In the tuple that the loop carries."""
        one = origin(name)
        found = INDEX.search(one.text) if one and one.opcode == "get-tuple-element" else None
        return int(found[1]) if found else None

    parts = dict(PARTS.findall(loop.text))
    compared = [one for one in computations.get(parts["condition"], ()) if one.opcode == "compare"]
    carried = [one for one in computations.get(parts["body"], ()) if one.opcode == "tuple"]
    begun = origin(loop.operands[0])
    if len(compared) != 1 or "direction=LT" not in compared[0].text or not carried:
        return None
    counter, limit = place(compared[0].operands[0]), number(compared[0].operands[1])
    if counter is None or limit is None or begun is None or begun.opcode != "tuple":
        return None
    start, after = number(begun.operands[counter]), origin(carried[-1].operands[counter])
    if (
        start is None
        or after is None
        or after.opcode != "add"
        or place(after.operands[0]) != counter
    ):
        return None
    step = number(after.operands[1])
    return max(0, math.ceil((limit - start) / step)) if step and step > 0 else None
