"""Between the trees of a training state and what Orbax keeps: nested dicts that hold arrays only.

Orbax refuses or alters empty dicts, None and optax's empty NamedTuples. So only leaves are
saved, under the names on their way, and the structure comes from the tree that asks for them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

from avssl.errors import UsageError

Tree = Any


def nested(tree: Tree) -> dict[str, Any]:
    """The leaves of any tree in nested dicts; containers without leaves are left out."""
    root: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        *parents, name = _names(path)
        branch = root
        for parent in parents:
            branch = branch.setdefault(parent, {})
        if name in branch:
            raise ValueError(f"two leaves share the name {'/'.join([*parents, name])}")
        branch[name] = leaf
    return root


def like(tree: Tree, leaves: dict[str, Any]) -> Tree:
    """The inverse of `nested`: a tree of the structure of `tree` with those leaves."""

    def find(path: tuple, _: Any) -> Any:
        found = leaves
        for name in _names(path):
            found = found[name]
        return found

    return jax.tree_util.tree_map_with_path(find, tree)


def target(leaf: Any) -> jax.ShapeDtypeStruct:
    """What a leaf is to become when restored: shape, dtype and where it lies now."""
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        # Without one Orbax takes the devices that the checkpoint was saved from.
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)


def check_fit(step: int, item: str, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse, in one sentence, a checkpoint whose arrays are not the ones asked for."""
    here, there = _described(wanted), _described(saved)
    odd = [name for name in sorted(here | there) if here.get(name) != there.get(name)]
    if odd:
        name, more = odd[0], f" (and {len(odd) - 1} more differ)" if len(odd) > 1 else ""
        raise UsageError(
            f"the checkpoint of step {step} does not fit this model: {item}/{name} is "
            f"{there.get(name, 'absent')} there and {here.get(name, 'absent')} here{more}; "
            "use the config that it was trained with"
        )


def num_bytes(tree: Tree) -> int:
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _described(leaves: dict[str, Any]) -> dict[str, str]:
    return {
        "/".join(_names(path)): f"{array.dtype}{list(array.shape)}"
        for path, array in jax.tree_util.tree_leaves_with_path(jax.tree.map(_as_stored, leaves))
    }


def _as_stored(leaf: Any) -> Any:
    """Orbax keeps typed random keys as their numbers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.eval_shape(jax.random.key_data, leaf)
    return leaf


def _names(path: tuple) -> list[str]:
    return [_name(key) for key in path] or ["value"]


def _name(key: Any) -> str:
    match key:
        case DictKey(key=name) | GetAttrKey(name=name) | FlattenedIndexKey(key=name):
            return str(name)
        case SequenceKey(idx=index):
            return str(index)
    raise TypeError(f"no name for the tree key {key!r}")
