"""What an encoder gives."""

from typing import Any

from flax import struct


@struct.dataclass
class Features:
    """`embedding` [b, d] is one vector per example; `map` [b, ..., c] keeps time and space; `taps`
    are inner layers by name, each [b, ..., c].

    The fields are not annotated as arrays: as in any pytree they may hold shapes, shardings or
    gradients as well.
    """

    embedding: Any
    map: Any = None
    taps: dict[str, Any] = struct.field(default_factory=dict)
