"""What a compiled step takes: the compiler's own analysis, with loops as often as they run."""

from typing import Any

from avssl.plan.program import Program


def flops_of(compiled: Any, program: Program) -> float:
    """The compiler's analysis leaves out what libraries of a GPU compute, which the program's own count has."""
    once = (compiled.cost_analysis() or {}).get("flops", 0.0)
    return max(once, program.flops_once()) + program.repeated_flops()


def bytes_moved_of(compiled: Any, program: Program) -> float:
    once = (compiled.cost_analysis() or {}).get("bytes accessed", 0.0)
    return once + program.repeated_bytes()


def peak_bytes_of(compiled: Any) -> float | None:
    """Of one device: what the step takes, gives and needs meanwhile, and its code; None where nobody says."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    return (
        memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    )  # fmt: skip


def how_counted(program: Program) -> list[str]:
    """What is to be said beside the FLOPs."""
    words = []
    if program.has_loops():
        words.append("loops as often as they run")
    if unknown := len(program.unknown_loops()):
        words.append(f"but {unknown} of them, whose length nobody can tell, once")
    if left_out := len(program.unknown_products()):
        words.append(f"without {left_out} library calls whose arithmetic is not known")
    return words
