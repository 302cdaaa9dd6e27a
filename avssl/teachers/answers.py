"""What a frozen encoder says of records: one ordered pass over them, on all devices of this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from avssl.data.pipeline import evaluation_batches
from avssl.data.record import Source
from avssl.teachers.teacher import SeeingTeacher
from avssl.train.mesh import batch_sharding, local_mesh, replicated

# What a teacher looks at.
SEEN = ("views", "geometry", "row")


def divisible(batch_size: int) -> int:
    """The batch size, or the next larger one that all devices share."""
    number = local_mesh().size
    return -(-batch_size // number) * number


def answers(
    seeing: SeeingTeacher,
    source: Source,
    kinds: Sequence[str],
    *,
    batch_size: int,
    indices: np.ndarray,
    starts: np.ndarray | None = None,
    workers: int = 0,
    of_targets: Callable[[dict[str, Any]], Any] = lambda targets: targets,
) -> Iterator[tuple[Any, Any]]:
    """(batch, its targets) without any draw, both on the host; as `evaluation_batches` gives batches.

    batch_size: a `divisible` one. of_targets: what is made of them before they leave the devices.
    """
    mesh = local_mesh()
    rows, whole = batch_sharding(mesh), replicated(mesh)
    key = jax.random.key(0)
    forward = jax.jit(
        lambda variables, batch: of_targets(seeing.targets(variables, batch, key, kinds)),
        in_shardings=(whole, rows),
        out_shardings=rows,
    )
    variables = jax.device_put(seeing.variables, whole)
    with evaluation_batches(
        source, dict(seeing.model.views), batch_size=batch_size, indices=indices, workers=workers,
        starts=starts,
    ) as batches:  # fmt: skip
        for batch in batches:
            seen = jax.device_put({name: batch[name] for name in SEEN}, rows)
            yield batch, jax.device_get(forward(variables, seen))
