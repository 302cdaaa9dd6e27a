"""What the profiler saw of a program, as time by instruction.

Traces of JAX name the instructions of the compiled program: on a CPU in the lines of the threads that run
them, on an accelerator in its own lines.
"""

import dataclasses
import itertools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.profiler import ProfileData

from avssl.bench.families import LOOPS
from avssl.plan.program import Program
from avssl.train.profile import tracer_options

# Of several things at one moment only those of the first kind get it. A loop is around what it runs.
EXECUTED, LEFT_TO_OTHERS, LOOP = range(3)
NOTHING = ""
# Of a device: of a TPU the one that is exact, of a GPU each.
DEVICE_LINES = ("XLA Ops", "Stream")


@dataclasses.dataclass(frozen=True)
class Span:
    """When an instruction ran, in nanoseconds."""

    name: str
    start: float
    end: float
    kind: int = EXECUTED


def trace(run: Callable[[], Any]) -> Any:
    """The `ProfileData` of what runs meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=tracer_options()):
            run()
        [file] = Path(folder).rglob("*.xplane.pb")
        return ProfileData.from_file(str(file))


def spans_by_device(data: Any, program: Program) -> list[list[Span]]:
    """Of each device that the trace knows what it ran; the host's threads are one, where there is no other."""
    planes = list(data.planes)
    devices = [
        list(device_spans(one, program)) for one in planes if one.name.startswith("/device:")
    ]
    hosts = [list(host_spans(one, program)) for one in planes if one.name.startswith("/host:")]
    return [spans for spans in devices if spans] or [spans for spans in hosts if spans]


def device_spans(plane: Any, program: Program) -> Iterator[Span]:
    for line in plane.lines:
        if line.name.startswith(DEVICE_LINES):
            for event in line.events:
                yield span_of(event, dict(event.stats).get("hlo_op") or event.name, program)


def host_spans(plane: Any, program: Program) -> Iterator[Span]:
    """Work that a thread leaves to others ends later, in an event of its own that it is paired with."""
    executed: dict[Any, Span] = {}
    for line in plane.lines:
        for event in line.events:
            stats = dict(event.stats)
            if "hlo_op" in stats:
                span = span_of(event, stats["hlo_op"], program)
                executed[stats.get("_p", len(executed))] = span
                yield span
    for line in plane.lines:
        for event in line.events:
            if event.name.startswith("end: "):
                begun = executed.get(dict(event.stats).get("_c"))
                if begun is not None and begun.kind == EXECUTED:
                    yield Span(begun.name, begun.end, event.start_ns, LEFT_TO_OTHERS)


def span_of(event: Any, text: str, program: Program) -> Span:
    name = instruction_name(text)
    one = program.named.get(name)
    kind = LOOP if one is not None and one.opcode in LOOPS else EXECUTED
    return Span(name, event.start_ns, event.start_ns + event.duration_ns, kind)


def instruction_name(text: str) -> str:
    """Of `fusion.3`, of a GPU's `call.1::fusion.3`, and of a TPU's `%fusion.3 = f32[8] fusion(...)`."""
    return text.split(" = ")[0].split("::")[-1].lstrip("%")


def time_by_name(spans: Iterable[Span]) -> dict[str, float]:
    """Nanoseconds of each instruction, and of `NOTHING`; in all from the first start to the last end.

    A moment in which several run is divided among them.
    """
    whole = [one for one in spans if one.end > one.start]
    changes = [(one.start, 1, one) for one in whole] + [(one.end, -1, one) for one in whole]
    changes.sort(key=lambda change: change[0])
    running: list[Counter[str]] = [Counter() for _ in (EXECUTED, LEFT_TO_OTHERS, LOOP)]
    found: dict[str, float] = defaultdict(float)
    for (moment, change, one), (following, _, _) in itertools.pairwise(changes):
        names = running[one.kind]
        names[one.name] += change
        if not names[one.name]:
            del names[one.name]
        share_out(found, following - moment, next(filter(None, running), Counter([NOTHING])))
    return found


def share_out(found: dict[str, float], duration: float, names: Counter[str]) -> None:
    if duration > 0:
        for name, count in names.items():
            found[name] += duration * count / names.total()
