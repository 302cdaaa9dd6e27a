"""The words after `avssl` as arguments of a verb; whatever is mistyped fails with the nearest valid name."""

import argparse
import difflib
import re
from collections.abc import Sequence

from avssl.errors import UsageError
from avssl.verb_arguments import build_parser

CONFIG_FLAG = re.compile(r"--config\.([A-Za-z0-9_.]+)(?:=(.*))?$", re.DOTALL)


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes `--config.a.b=value` (or `--config.a.b value`) out of the command line."""
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if not (match := CONFIG_FLAG.match(word)):
            rest.append(word)
            continue
        value = match[2]
        if value is None:
            if not remaining or remaining[0].startswith("--"):
                raise UsageError(f"{word} needs a value: {word}=VALUE")
            value = remaining.pop(0)
        overrides.append((match[1], value))
    return rest, overrides


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = build_parser()
    rest, overrides = split_overrides(words)
    arguments, unknown_words = parser.parse_known_args(rest)
    if unknown_words:
        flags = known_flags(parser, arguments)
        near = difflib.get_close_matches(unknown_words[0].split("=")[0], flags, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(flags)}"
        raise UsageError(f"unknown argument '{unknown_words[0]}'; {hint}")
    if overrides and not getattr(arguments, "config", ""):
        raise UsageError(f"--config.{overrides[0][0]} needs --config FILE")
    arguments.overrides = overrides
    return arguments


def known_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The flags of the verb that was asked for."""
    for name in ("verb", "data_verb", "bench_verb"):
        chosen = getattr(arguments, name, None)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and chosen in action.choices:
                parser = action.choices[chosen]
    return sorted(flag for action in parser._actions for flag in action.option_strings)
