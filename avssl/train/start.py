"""What a run starts from: its own checkpoint, else `init_from`, else scratch; and it says which."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from avssl.errors import UsageError
from avssl.objectives.base import Objective
from avssl.train.mesh import path_name
from avssl.train.state import TrainState

# What a run may take from another one.
ITEMS = ("params", "batch_stats", "memory")


def objectives_of_another_shape(state: TrainState, given: Mapping[str, Any]) -> tuple[str, ...]:
    """How the names begin of objectives with parameters that have another shape in another run."""
    ours, theirs = named_leaves(state.params), named_leaves(given.get("params", {}))
    odd = {
        "/".join(name.split("/")[:2])
        for name, leaf in ours.items()
        if name.startswith("objectives/") and name in theirs and theirs[name].shape != leaf.shape
    }
    return tuple(f"{name}/" for name in sorted(odd))


def named_leaves(tree: Any) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def items_of_start(objectives: Mapping[str, Objective]) -> tuple[str, ...]:
    """The items of another run's checkpoint that a run of these objectives needs."""
    remembers = any(one.continues_memory for one in objectives.values())
    return ("params", "batch_stats", *(("memory", "meta") if remembers else ()))


def continued(
    given: dict[str, Any], objectives: Mapping[str, Objective], fingerprint: str, where: Path
) -> dict[str, Any]:
    """Another run's items, with what objectives go on from (`Objective.continues`) under their own names.

    No other memory is left. Memory has a row for each record: that of other data is refused.
    """
    theirs, memory = given.get("memory", {}), {}
    heads = given.get("params", {}).get("objectives", {})
    for name, objective in objectives.items():
        held = theirs if objective.continues_memory else heads
        source = next((other for other in objective.continues if other in held), None)
        if source is None:
            continue
        if objective.continues_memory:
            check_same_records(given["meta"], fingerprint, where, name, source)
            memory[name] = {key: theirs[source][key] for key in objective.continues_memory}
        for item in ("params", "batch_stats"):
            given = {**given, item: with_heads(given.get(item, {}), name, source)}
    return {**given, "memory": memory}


def check_same_records(
    meta: Mapping[str, Any], fingerprint: str, where: Path, name: str, source: str
) -> None:
    if meta["data_fingerprint"] != fingerprint:
        raise UsageError(
            f"init_from '{where}': objective '{name}' goes on with the memory of its '{source}', a row "
            f"for each record of {meta['config']['data']['source']}, which are not the records of "
            f"data.source here (fingerprint {meta['data_fingerprint'][:12]}, here {fingerprint[:12]}): "
            f"train '{source}' on this data first, or take that data"
        )


def with_heads(tree: dict[str, Any], name: str, source: str) -> dict[str, Any]:
    """The tree with the heads of one objective as those of another one, too."""
    heads = tree.get("objectives", {})
    return {**tree, "objectives": {**heads, name: heads[source]}} if source in heads else tree


def fresh_memory(objectives: Mapping[str, Objective], given: Mapping[str, Any]) -> list[str]:
    """A line for each objective that should go on from another run and found nothing there."""
    return [
        f"'{name}' begins with fresh memory: it is made to go on from a run of "
        f"{' or '.join(one.continues)} (init_from)"
        for name, one in objectives.items()
        if one.continues_memory and name not in given.get("memory", {})
    ]


def graft(state: TrainState, given: dict[str, Any], where: Path) -> tuple[TrainState, str]:
    """Puts another run's parameters, running statistics and memory into a fresh state, by name.

    What the other run lacks stays at its initialisation and is named, apart from memory. So do the parameters
    of an objective that has one of another shape there: heads for other classes. In an encoder or in memory
    such an array is refused.
    """
    placed: dict[str, Any] = {}
    missing: list[str] = []
    taken = 0
    reshaped = objectives_of_another_shape(state, given)
    for item in ITEMS:
        theirs = named_leaves(given.get(item, {}))
        ours = named_leaves(getattr(state, item))
        for name, leaf in ours.items():
            if name not in theirs or (item != "memory" and name.startswith(reshaped)):
                if item != "memory":
                    missing.append(f"{item}/{name}")
                continue
            if theirs[name].shape != leaf.shape:
                raise UsageError(
                    f"init_from '{where}': {item}/{name} is {list(theirs[name].shape)} there and "
                    f"{list(leaf.shape)} here; use the same settings"
                )
            placed[f"{item}/{name}"] = jax.device_put(
                theirs[name].astype(leaf.dtype), leaf.sharding
            )
            taken += 1
    if not any(name.startswith("params/encoders/") for name in placed):
        raise UsageError(f"init_from '{where}' has no encoder of this config; check encoders.*")

    def fill(item: str) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: placed.get(f"{item}/{path_name(path)}", leaf), getattr(state, item)
        )

    state = dataclasses.replace(state, **{item: fill(item) for item in ITEMS})
    if state.ema:
        state = dataclasses.replace(state, ema=jax.tree.map(lambda leaf: leaf.copy(), state.params))
    groups = sorted({"/".join(name.split("/")[:3]) for name in missing})
    left = f"; left at random: {', '.join(groups)}" if groups else ""
    return state, f"{taken} arrays{left}"
