"""Where the time of a step goes: its trace, by family of operations."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from avssl.bench.families import OTHER, family
from avssl.bench.trace import NOTHING, spans_by_device, time_by_name, trace
from avssl.console import aligned
from avssl.plan.program import Program

TRACED_STEPS = 3
IDLE = "nothing runs"


def where_lines(step: Callable[[], Any], program: Program) -> Iterator[str]:
    """Lines for a person; the milliseconds are of one step and one device."""
    found = time_by_family(lambda: [step() for _ in range(TRACED_STEPS)], program)
    total = sum(found.values())
    if not total:
        yield "where the time goes: the profiler does not say of this device"
        return
    yield f"where the time goes, of {total / TRACED_STEPS / 1e6:.1f} ms a step while it is traced:"
    rows = [
        (name, f"{time / TRACED_STEPS / 1e6:.1f} ms", f"{time / total:.1%}")
        for name, time in sorted(found.items(), key=lambda item: -item[1])
    ]
    yield from (f"  {line}" for line in aligned(rows, left={0}))


def time_by_family(run: Callable[[], Any], program: Program) -> dict[str, float]:
    """Nanoseconds of a device, as a mean over those that were traced; in all, the time that was traced."""
    devices = spans_by_device(trace(run), program)
    found: dict[str, float] = defaultdict(float)
    for spans in devices:
        for name, time in time_by_name(spans).items():
            found[family_of(program, name)] += time / len(devices)
    return found


def family_of(program: Program, name: str) -> str:
    if name == NOTHING:
        return IDLE
    one = program.named.get(name)
    return OTHER if one is None else family(program, one)
