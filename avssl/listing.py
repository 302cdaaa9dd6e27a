"""`avssl list`: what can be named in a config."""

import inspect
from pathlib import Path
from typing import Any


def listing(what: str, *, verbose: bool = False) -> str:
    return {"objectives": objectives, "encoders": encoders, "configs": configs}[what](verbose)


def entry(name: str, cls: Any, fields: dict[str, Any], verbose: bool, more: str = "") -> str:
    line = f"{name:16} {first_line(cls.__doc__)}"
    if not verbose:
        return line
    body = [f"    {key} = {value!r}" for key, value in fields.items()]
    return "\n".join([line, *([f"    {more}"] if more else []), *body])


def first_line(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n", maxsplit=1)[0]


def objectives(verbose: bool) -> str:
    from avssl.objectives import OBJECTIVES, objective_defaults

    return "\n".join(
        entry(name, cls, objective_defaults(name), verbose, described(cls))
        for name, cls in OBJECTIVES.items()
    )


def described(cls: Any) -> str:
    """The views and encoders an objective reads with its defaults."""
    return "reads " + ", ".join(f"{r.view} by {r.encoder} ({r.mode})" for r in cls().reads())


def encoders(verbose: bool) -> str:
    from avssl.models.registry import ENCODERS, encoder_fields

    return "\n".join(
        entry(name, cls, encoder_fields(cls), verbose, f"reads {cls.modality}")
        for name, cls in ENCODERS.items()
    )


def configs(verbose: bool) -> str:
    lines = []
    for path in sorted(Path("configs").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        summary = text.split('"""', 2)[1].strip() if '"""' in text else ""
        lines.append(f"{path!s:32} {summary.splitlines()[0] if summary else ''}")
        if verbose:
            lines += [f"    {line}" for line in summary.splitlines()[1:]]
    return "\n".join(lines) or "no configs/ folder here: run this from the project's root"
