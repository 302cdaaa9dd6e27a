"""Nothing that is not finite is ever saved.

The logs of a step show a loss and gradients that broke; an update that overflows shows in them one
step later only, which may be after a checkpoint.
"""

import jax
import jax.numpy as jnp

from avssl.errors import AvsslError
from avssl.train.mesh import local_value, path_name
from avssl.train.state import TrainState


@jax.jit
def finite_leaves(leaves: list[jax.Array]) -> jax.Array:
    """bool [leaves]"""
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])


def check_state(step: int, state: TrainState) -> None:
    """Raises if a value of the state is not finite; to be called before it is saved."""
    named = [
        (f"{item}/{path_name(path)}", leaf)
        for item, tree in state.items().items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    finite = local_value(finite_leaves([leaf for _, leaf in named]))
    bad = [name for (name, _), good in zip(named, finite, strict=True) if not good]
    if bad:
        more = f" and {len(bad) - 1} more arrays hold" if len(bad) > 1 else " holds"
        raise AvsslError(
            f"step {step}: {bad[0]}{more} values that are not finite; this step is not saved, "
            "earlier checkpoints are good: lower the learning rate, or set optimizer.clip_norm"
        )
