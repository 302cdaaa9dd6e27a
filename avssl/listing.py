"""`avssl list`: what can be named in a config."""

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def listing(what: str, *, verbose: bool = False) -> str:
    return LISTINGS[what](verbose)


WORLD = Path("configs/world")
# Whose heads and memory another objective's config shows.
SHOWN_BY = {
    "classify": "supervised.py:pictures",
    "cmc": "distill.py:cmc",
    "crd": "distill.py:crd",
}
# Records that memory is shown for.
NUM_RECORDS = 1000


def entry(
    name: str, width: int, cls: Any, fields: dict[str, Any], verbose: bool, more: Sequence[str] = ()
) -> str:
    line = f"{name:{width}} {first_line(cls.__doc__)}"
    if not verbose:
        return line
    body = [*more, *(f"{key} = {value!r}" for key, value in fields.items())]
    return "\n".join([line, *(f"    {text}" for text in body)])


def first_line(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n", maxsplit=1)[0]


def objectives(verbose: bool) -> str:
    from avssl.objectives import OBJECTIVES, objective_defaults

    width = max(map(len, OBJECTIVES))
    folder = world_configs() if verbose else None
    lines = [
        entry(name, width, cls, objective_defaults(name), verbose, described(name, cls, folder))
        for name, cls in OBJECTIVES.items()
    ]
    if verbose and folder is None:
        lines.append(
            f"no {WORLD} folder here: run this from the project's root for heads and memory"
        )
    return "\n".join(lines)


def world_configs() -> Path | None:
    """Where one is, or beside the package, as it lies in the project."""
    found = (root / WORLD for root in (Path(), Path(__file__).parents[1]))
    return next((folder for folder in found if folder.is_dir()), None)


def described(name: str, cls: Any, folder: Path | None) -> list[str]:
    """What an objective reads with its defaults; heads and memory as its world config has them."""
    reads = (
        f"{r.view}{f' toward {r.toward}' * bool(r.toward)} by {r.encoder} ({r.mode})"
        for r in cls().reads()
    )
    lines = [f"reads {', '.join(reads)}"]
    if folder:
        file = folder / SHOWN_BY.get(name, f"{name}.py")
        heads, memory = parts(name, str(file))
        lines.append(f"heads {heads or 'none'} ({file})")
        lines.append(f"memory {memory or 'none'}" + f" ({NUM_RECORDS} records)" * bool(memory))
    return lines


def parts(name: str, file: str) -> tuple[str, str]:
    """Names of the heads' modules with their numbers of parameters, and the shapes of memory."""
    import jax

    from avssl.config import load_config, resolve
    from avssl.train.build_model import build_model

    config = resolve(load_config(file))
    config.data.num_records = NUM_RECORDS
    variables = jax.eval_shape(build_model(config).init, jax.random.key(0))
    heads = ", ".join(
        f"{head} {sum(leaf.size for leaf in jax.tree.leaves(params)):,}"
        for head, params in variables["params"]["objectives"][name].items()
    )
    memory = ", ".join(
        f"{jax.tree_util.keystr(path, simple=True, separator='/')} {list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["memory"][name])
    )
    return heads, memory


def encoders(verbose: bool) -> str:
    from avssl.config.complete import usual_frontend
    from avssl.models.registry import ENCODERS, encoder_fields

    width = max(map(len, ENCODERS))
    lines = []
    for name, cls in ENCODERS.items():
        heard = {f"frontend.{key}": value for key, value in usual_frontend(cls).items()}
        keys = {**encoder_fields(cls), **heard}
        lines.append(entry(name, width, cls, keys, verbose, [f"reads {cls.modality}"]))
    return "\n".join(lines)


def frontends(verbose: bool) -> str:
    from avssl.signal.frontends import FRONTENDS

    width = max(map(len, FRONTENDS))
    lines = []
    for name, cls in FRONTENDS.items():
        keys = {field.name: field.default for field in dataclasses.fields(cls)}
        lines.append(entry(name, width, cls, keys, verbose, [f"for {cls.modality}"]))
    return "\n".join(lines)


def configs(verbose: bool) -> str:
    lines = []
    for path in sorted(Path("configs").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        summary = text.split('"""', 2)[1].strip() if '"""' in text else ""
        lines.append(f"{path!s:32} {summary.splitlines()[0] if summary else ''}")
        if verbose:
            lines += [f"    {line}" for line in summary.splitlines()[1:]]
    return "\n".join(lines) or "no configs/ folder here: run this from the project's root"


LISTINGS = {
    "objectives": objectives,
    "encoders": encoders,
    "frontends": frontends,
    "configs": configs,
}
