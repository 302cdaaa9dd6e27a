"""How a command that failed says so: a sentence on stderr and an exit code."""

import sys
import traceback

from avssl.errors import AvsslError, Preempted


def report(error: BaseException, debug: bool) -> int:
    """Says on stderr what went wrong; the exit code."""
    match error:
        case SystemExit():
            raise error
        case KeyboardInterrupt():
            print("avssl: interrupted", file=sys.stderr)
            return 130
    if debug:
        traceback.print_exception(error)
    print(f"avssl: {sentence(error)}", file=sys.stderr)
    return error.exit_code if isinstance(error, AvsslError | Preempted) else 1


def sentence(error: BaseException) -> str:
    """What is wrong, in one line. Errors that nobody foresaw say at least where to look."""
    if isinstance(error, AvsslError | Preempted):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        # Disks, permissions, addresses: the system's own words.
        where = f": {error.filename}" if error.filename is not None else ""
        return f"{error.strerror}{where}; --debug shows where it happened"
    words = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, MemoryError) or words.startswith("RESOURCE_EXHAUSTED"):
        return (
            f"out of memory ({words or 'of this machine'}): set a smaller batch_size, or a larger "
            "optimizer.accumulate"
        )
    return f"unexpected {type(error).__name__}: {words}; --debug shows where it happened"
