"""AVE: the distances that are logged are of the pairs that are there."""

import jax
import jax.numpy as jnp
import numpy as np

from avssl.objectives import build_objective


def test_distances_are_of_usable_matches_and_of_usable_mismatches():
    video = jnp.eye(4)
    # The last clip has no sound, and what stands in its place is not a number.
    audio = jnp.stack([video[0], video[1], -video[2], jnp.full(4, jnp.nan)])
    there = jnp.ones(4, bool)
    batch = {"index": jnp.arange(4), "present": {"video": there, "audio": there.at[3].set(False)}}
    objective = build_objective("ave", {"all_negatives": True})
    weights = {"distance_weight": jnp.array([3.0, -3.0]), "distance_bias": jnp.zeros(2)}
    outcome = objective.apply(
        {"params": weights}, {"video": video, "audio": audio}, batch, train=True,
        rngs={"draw": jax.random.key(0)},
    )  # fmt: skip
    np.testing.assert_allclose(outcome.metrics["positive_distance"], 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(outcome.metrics["negative_distance"], 2**0.5, rtol=1e-6)
