"""Errors that are meant for a person: one sentence, an exit code, no traceback."""

import difflib
import math
from collections.abc import Iterable
from typing import Any


class AvsslError(Exception):
    """Something the user must know about. The command line prints the sentence and exits."""

    exit_code = 1


class UsageError(AvsslError):
    """Wrong usage or input: the user can mend it by changing the command, the config or the data."""

    exit_code = 2


class Preempted(BaseException):
    """The run was asked to stop, and saved its state before it did: the scheduler should start it again.

    As KeyboardInterrupt it may come from a signal, in the middle of anything: what catches errors is not to
    take it for one.
    """

    exit_code = 75


def unknown(kind: str, name: str, valid: Iterable[str]) -> UsageError:
    """The error for a mistyped name: it carries the nearest valid one, or all of them if none is near."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(valid) or 'none'}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")


def check_number(
    key: str, value: Any, low: float, high: float = math.inf, *, above: bool = False
) -> None:
    """Refuses what is no finite number from `low` to `high`; `above`: nor may it be `low` itself."""
    sound = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    if sound and (low < value if above else low <= value) and value <= high:
        return
    limits = f"above {low}" if above else f"at least {low}"
    if high < math.inf:
        limits = f"{limits} and at most {high}" if above else f"between {low} and {high}"
    raise UsageError(f"{key} must be {limits}, not {value!r}")
