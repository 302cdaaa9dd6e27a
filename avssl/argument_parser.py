"""What all verbs have in common: one parser, its errors, and the words that several take."""

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from avssl.errors import UsageError, unknown

DEBUG: dict[str, Any] = {"action": "store_true", "help": "show the traceback of an error"}


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one sentence with the nearest valid name."""

    def __init__(self, **keywords: Any):
        # A flag cut short is a mistyped flag.
        super().__init__(allow_abbrev=False, **keywords)

    def error(self, message: str) -> NoReturn:
        if match := re.match(
            r"argument (\S+): invalid choice: '?([^']*?)'? \(choose from (.*)\)", message
        ):
            choices = [choice.strip(" '") for choice in match[3].split(",")]
            raise unknown(match[1], match[2], choices)
        verb = self.prog.partition(" ")[2]
        raise UsageError(f"{verb}{': ' if verb else ''}{message}; see `{self.prog} --help`")


def verb(verbs, name: str, text: str, function: Callable | None, example: str) -> Parser:
    made = verbs.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    # No default: it would undo the flag before the verb.
    made.add_argument("--debug", **DEBUG, default=argparse.SUPPRESS)
    if function is not None:
        made.set_defaults(function=function)
    return made


def add_config(parser: Parser) -> None:
    parser.add_argument(
        "--config", required=True, metavar="FILE[:VARIANT]",
        help="a config file; any value of it is changed by --config.a.b=value",
    )  # fmt: skip
