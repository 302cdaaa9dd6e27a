"""What objectives share that train on cluster ids of the whole data."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from avssl.errors import UsageError

NO_LABEL = -1


def require_fewer_clusters(
    config_key: str, num_records: int, num_clusters: int, otherwise: str
) -> None:
    """Refuses more clusters than records, which no clustering could fill."""
    if num_clusters < 2:
        raise UsageError(f"{config_key}.num_clusters must be at least 2, not {num_clusters}")
    if num_records < num_clusters:
        raise UsageError(
            f"{config_key} gives each record of the data one of {num_clusters} clusters, but data.num_records "
            f"is {num_records}: {otherwise}"
        )


def is_due(step: int, first: int, every: int) -> bool:
    """Whether a refresh that happens at step `first` and every so many steps from there is due."""
    return step >= first and (step - first) % every == 0


def mesh_of(array: Array) -> Mesh | None:
    """The mesh that the rows of an array are spread over."""
    where = array.sharding
    mesh = where.mesh if isinstance(where, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) else None


def whole(tree: Any, mesh: Mesh | None) -> Any:
    """Within `jit`: each array whole on every device, so that any host can read it."""
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def cluster_sizes(labels: Array, num_clusters: int) -> Array:
    """int32 [k]: how many rows have each label; rows without one (-1) count nowhere."""
    into = jnp.where(labels >= 0, labels, num_clusters)
    return jnp.zeros(num_clusters + 1, jnp.int32).at[into].add(1)[:-1]


def overlap(old: Array, new: Array, num_clusters: int) -> Array:
    """int32 [k, k]: how many rows had label i and have label j now; rows that lacked one are left out."""
    cell = jnp.where((old >= 0) & (new >= 0), old * num_clusters + new, NO_LABEL)
    return cluster_sizes(cell, num_clusters**2).reshape(num_clusters, num_clusters)


def size_metrics(sizes: Array, dtype: Any) -> dict[str, Array]:
    """Signs of collapse: how many clusters have rows, and the largest one's share of all rows."""
    total = jnp.maximum(jnp.sum(sizes, axis=-1), 1).astype(dtype)
    largest = jnp.max(sizes, axis=-1).astype(dtype) / total
    return {
        "num_clusters": jnp.mean(jnp.sum(sizes > 0, axis=-1).astype(dtype)),
        "largest_cluster": jnp.mean(largest),
    }
