"""A teacher's targets of one window as bytes, and back."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avssl.data.records import example
from avssl.errors import UsageError
from avssl.media.errors import MediaError

DTYPES = ("float16", "float32")


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How targets lie in a store: shapes of one window's by kind, their type, and how many logits.

    top_k: the largest logits alone, 0 is all. What the others weigh together is kept too: read back, each
    of them has an equal share of it, so that the largest keep their probabilities at temperature 1.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtype: str = "float16"
    top_k: int = 0

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Encoding":
        shapes = {kind: tuple(shape) for kind, shape in values["shapes"].items()}
        return cls(shapes, values["dtype"], values["top_k"])

    @property
    def num_bytes(self) -> int:
        """Of one window's numbers."""
        each = np.dtype(self.dtype).itemsize
        sizes = {kind: each * int(np.prod(shape)) for kind, shape in self.shapes.items()}
        if self.top_k and "logits" in sizes:
            sizes["logits"] = (each + 4) * self.top_k + 4
        return sum(sizes.values())

    def encode(self, key: str, window: int, targets: Mapping[str, np.ndarray]) -> bytes:
        """One entry of a shard. UsageError names the record whose numbers cannot be kept."""
        values: dict[str, bytes | int | float] = {"key": key.encode(), "window": window}
        for kind in self.shapes:
            array = np.asarray(targets[kind], np.float32)
            if not np.isfinite(array).all():
                raise UsageError(
                    f"the teacher's {kind} of record '{key}' has values that are not finite (NaN or infinite): "
                    "look at that record with `avssl data verify`, or at the teacher's run"
                )
            if kind == "logits" and self.top_k:
                array, classes, rest = largest(array, self.top_k)
                values["classes"] = classes.astype("<i4").tobytes()
                values["rest"] = rest
            with np.errstate(over="ignore"):
                kept = array.astype(self.dtype)
            if not np.isfinite(kept).all():
                raise UsageError(
                    f"the teacher's {kind} of record '{key}' reaches {np.abs(array).max():g}, more than "
                    f"{self.dtype} holds: write the store with --dtype float32"
                )
            values[kind] = kept.tobytes()
        return example(values)

    def decode(
        self, values: Mapping[str, Any], key: str, window: int, kinds: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """float32 arrays by kind. MediaError where the entry is another one's or damaged."""
        if values.get("key") != key.encode() or values.get("window") != window:
            raise MediaError("its entry is that of another record or window")
        found = {}
        try:
            for kind in kinds:
                numbers = np.frombuffer(values[kind], self.dtype).astype(np.float32)
                if kind == "logits" and self.top_k:
                    classes = np.frombuffer(values["classes"], "<i4")
                    dense = np.full(self.shapes[kind], values["rest"], np.float32)
                    dense[..., classes] = numbers
                    numbers = dense
                found[kind] = numbers.reshape(self.shapes[kind])
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise MediaError("its entry is damaged") from error
        if not all(np.isfinite(array).all() for array in found.values()):
            raise MediaError("its entry holds values that are not finite")
        return found


def largest(logits: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(the largest logits, their classes, the logit that each of the others gets)."""
    order = np.argsort(-logits, kind="stable")
    classes, others = order[:number], logits[order[number:]].astype(np.float64)
    if not len(others):
        return logits[classes], classes, 0.0
    top = others.max()
    rest = top + np.log(np.mean(np.exp(others - top)))
    return logits[classes], classes, float(rest)
