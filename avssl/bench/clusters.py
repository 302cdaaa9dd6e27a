"""How long k-means of all records takes, as XDC calls it before some steps (`avssl bench clusters`)."""

import time
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from avssl.losses.kmeans import kmeans, plus_plus_rows


def bench_clusters(
    rows: int, dim: int, clusters: Sequence[int], *, max_iterations: int = 100
) -> Iterator[str]:
    """Lines for a person, one for each number of clusters; first rows by k-means++ included.

    The features are noise, in which there are no clusters to settle on; after `max_iterations` it ends.
    """
    features = jax.block_until_ready(jax.random.normal(jax.random.key(0), (rows, dim)))
    yield f"device       {jax.devices()[0].device_kind}"
    yield f"features     {rows:,} x {dim} of noise, float32"
    for num_clusters in clusters:

        @jax.jit
        def clustered(key: jax.Array, features: jax.Array, num_clusters: int = num_clusters):
            present = jnp.ones(rows, bool)
            initial = plus_plus_rows(key, features, num_clusters, present=present)
            return kmeans(features, initial, present=present, max_iterations=max_iterations)

        compiled = clustered.lower(jax.random.key(1), features).compile()
        began = time.perf_counter()
        found = jax.block_until_ready(compiled(jax.random.key(1), features))
        seconds = time.perf_counter() - began
        yield f"k = {num_clusters:<8} {seconds:.1f} s, {int(found['num_iterations'])} iterations"
