"""What the compiler does not split over devices, split by hand."""

from collections.abc import Callable

import jax
from jax import Array
from jax.sharding import PartitionSpec, get_abstract_mesh


def by_device(function: Callable[[Array], Array], rows: Array) -> Array:
    """function(rows), which is of each row by itself: on a mesh each device does it for its own rows.

    For FFTs: left alone, the compiler gathers the rows of all devices on each of them. Without a mesh around
    the step (`train/step.py`), and with rows that the devices cannot share, it is called as it is.
    """
    mesh = get_abstract_mesh()
    if mesh.empty or len(rows) % mesh.size:
        return function(rows)
    own = PartitionSpec(mesh.axis_names)
    return jax.shard_map(function, in_specs=own, out_specs=own)(rows)
