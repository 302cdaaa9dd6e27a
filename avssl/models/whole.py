"""Parameters that are split over devices are gathered where they are used, layer by layer."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
from jax import Array
from jax.sharding import PartitionSpec, get_abstract_mesh
from jax.typing import DTypeLike


def gathering(layer: type[nn.Module], dtype: DTypeLike, *, init: bool) -> type[nn.Module]:
    """The layer, with its parameters whole on each device while it computes. init: while it is initialised.

    Left alone, the compiler may split what the layer computes instead, and send the activations of the whole
    batch around. Kernels travel in `dtype`, to which the layer casts them anyway. Without a mesh around the
    step (`train/step.py`) nothing is gathered.
    """
    return nn.map_variables(layer, "params", trans_in_fn=partial(whole, dtype=dtype), init=init)


def whole(parameters: Any, dtype: DTypeLike) -> Any:
    if get_abstract_mesh().empty:
        return parameters
    return jax.tree.map(
        lambda leaf: gathered(leaf.astype(dtype) if leaf.ndim > 1 else leaf), parameters
    )


@jax.custom_vjp
def gathered(leaf: Array) -> Array:
    return jax.lax.with_sharding_constraint(leaf, PartitionSpec())


def gathered_forward(leaf: Array) -> tuple[Array, None]:
    return gathered(leaf), None


def gathered_backward(_: None, cotangent: Array) -> tuple[Array]:
    # Not gathered as well: it is summed where it is kept.
    return (cotangent,)


gathered.defvjp(gathered_forward, gathered_backward)
