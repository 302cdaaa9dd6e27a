"""SeLaVi's labels of all records: Sinkhorn on what one head says of the features that a pass kept."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from avssl.losses.self_labelling import alignment_cost
from avssl.losses.sinkhorn import log_joint_posterior, match_popularity, sinkhorn
from avssl.models.heads import ClusterHead
from avssl.objectives.base import Outputs, Owned
from avssl.objectives.labels import cluster_sizes, whole


@dataclasses.dataclass(frozen=True)
class Solver:
    """What every solve of a run has in common. `mesh`: what the rows are spread over."""

    head: ClusterHead
    sharpness: float
    is_gaussian: bool
    released_matching: bool
    mesh: Mesh | None

    def solve(self, owned: Owned, kept: Outputs, head: int) -> dict[str, Array]:
        """The memory with new labels of one head."""
        return solve(self, owned.params, owned.batch_stats, owned.memory, kept, head)

    def distances(self, owned: Owned, kept: Outputs, head: int) -> Array:
        """How far apart each video cluster and each audio cluster of a head are."""
        return distances(self, owned.params, owned.batch_stats, kept, head)

    def logits(
        self, params: Any, batch_stats: Any, kept: Outputs, head: Array
    ) -> tuple[Array, Array]:
        """Video and audio logits of one head for every record, with running statistics."""

        def of(modality: str) -> Array:
            own = {
                "params": params[f"{modality}_heads"],
                "batch_stats": batch_stats[f"{modality}_heads"],
            }
            own = jax.tree.map(lambda leaf: leaf[head], own)
            found: Any = self.head.apply(own, kept[modality], train=False)
            return found

        return of("video"), of("audio")


@functools.partial(jax.jit, static_argnames="solver")
def distances(solver: Solver, params: Any, batch_stats: Any, kept: Outputs, head: Array) -> Array:
    video, audio = map(jax.nn.softmax, solver.logits(params, batch_stats, kept, head))
    return whole(alignment_cost(video, audio, present=kept["present"]), solver.mesh)


@functools.partial(jax.jit, static_argnames="solver")
def solve(
    solver: Solver,
    params: Any,
    batch_stats: Any,
    memory: Mapping[str, Any],
    kept: Outputs,
    head: Array,
) -> dict[str, Array]:
    present, labels, marginals = kept["present"], memory["labels"], memory["marginals"]
    posterior = log_joint_posterior(*solver.logits(params, batch_stats, kept, head))
    masses = marginals[head]
    if solver.is_gaussian:
        masses = match_popularity(
            masses, posterior, present=present, released=solver.released_matching
        )
    found = sinkhorn(posterior, masses, present=present, sharpness=solver.sharpness)
    new, old = found["labels"][: len(labels)], labels[:, head]
    is_labelled = new >= 0
    changed = jnp.sum(is_labelled & (new != old)) / jnp.maximum(jnp.sum(is_labelled), 1)
    of_head = {
        "marginals": masses,
        "sizes": cluster_sizes(new, marginals.shape[1]),
        "cost": found["cost"],
        "changed": changed,
    }
    summary = {
        name: memory[name].at[head].set(value.astype(memory[name].dtype))
        for name, value in of_head.items()
    }
    return {"labels": labels.at[:, head].set(new), **whole(summary, solver.mesh)}
