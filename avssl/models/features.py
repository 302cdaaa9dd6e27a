"""What an encoder gives."""

from typing import Any

from flax import struct
from jax import Array
from jaxtyping import Float


@struct.dataclass
class Features:
    """`embedding` is one vector per example; `map` keeps time and space, `taps` are inner layers."""

    embedding: Float[Array, "b d"]
    map: Float[Array, "b *positions c"] | None = None
    taps: dict[str, Any] = struct.field(default_factory=dict)
