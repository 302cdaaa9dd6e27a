"""What an encoder gives."""

from typing import Any

from flax import struct


@struct.dataclass
class Patches:
    """What a transformer saw of its input, and what of it was kept from it.

    seen: [b, n, d], its last vectors; of the patches at `places` [b, n], while those at `hidden` [b, m] were
    left out. Places count along the axes of `grid`. inputs: [b, n + m, p], each patch as it came, in order of
    the places.
    """

    seen: Any
    places: Any
    hidden: Any
    inputs: Any
    grid: tuple[int, ...] = struct.field(pytree_node=False)


@struct.dataclass
class Features:
    """`embedding` [b, d] is one vector per example; `map` [b, ..., c] keeps time and space; `taps`
    are inner layers by name, each [b, ..., c]; `patches` are those of a transformer.

    The fields are not annotated as arrays: as in any pytree they may hold shapes, shardings or
    gradients as well.
    """

    embedding: Any
    map: Any = None
    taps: dict[str, Any] = struct.field(default_factory=dict)
    patches: Any = None
