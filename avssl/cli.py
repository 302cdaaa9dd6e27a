"""`avssl`: from words to an exit code."""

import sys
from collections.abc import Sequence

from avssl.command_line import parse
from avssl.console import Readers
from avssl.failures import report
from avssl.interrupts import heard
from avssl.verbs import ONLY_PRINTING


def main(words: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 wrong usage or input, 75 stopped after saving, 130 interrupted, 1 the rest."""
    words = list(sys.argv[1:] if words is None else words)
    with Readers() as readers:
        try:
            with heard():
                arguments = parse(words)
                writes = getattr(arguments, "results", None) is not None
                readers.only_prints = arguments.function in ONLY_PRINTING and not writes
                return arguments.function(arguments)
        except BaseException as error:
            return report(error, debug="--debug" in words)


if __name__ == "__main__":
    sys.exit(main())
