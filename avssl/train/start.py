"""What a run starts from: its own checkpoint, else `init_from`, else scratch; and it says which."""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from avssl.errors import UsageError
from avssl.train.mesh import path_name
from avssl.train.state import TrainState


def named_leaves(tree: Any) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def graft(state: TrainState, given: dict[str, Any], where: Path) -> tuple[TrainState, str]:
    """Puts another run's parameters and running statistics into a fresh state, by name.

    What the other run lacks stays at its initialisation and is named; an array of another shape is refused.
    """
    placed: dict[str, Any] = {}
    missing: list[str] = []
    taken = 0
    for item in ("params", "batch_stats"):
        theirs = named_leaves(given.get(item, {}))
        ours = named_leaves(getattr(state, item))
        for name, leaf in ours.items():
            if name not in theirs:
                missing.append(f"{item}/{name}")
                continue
            if theirs[name].shape != leaf.shape:
                raise UsageError(
                    f"init_from '{where}': {item}/{name} is {list(theirs[name].shape)} there and "
                    f"{list(leaf.shape)} here; use the same encoder settings"
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

    state = dataclasses.replace(state, params=fill("params"), batch_stats=fill("batch_stats"))
    if state.ema:
        state = dataclasses.replace(state, ema=jax.tree.map(lambda leaf: leaf.copy(), state.params))
    groups = sorted({"/".join(name.split("/")[:3]) for name in missing})
    left = f"; left at random: {', '.join(groups)}" if groups else ""
    return state, f"{taken} arrays{left}"
