"""MCN: what its memory does over steps, and where gradients go."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.objectives.mcn import Mcn
from avssl.train.build_model import build_model
from tests.train.small_runs import small_config

BATCH, CHANNELS = 8, 6
KEYS = {
    "embedding_width": 5, "audio_gated_width": 4, "reconstruction_width": 4, "num_clusters": 3,
    "queue_rows": 12, "refit_every_steps": 2,
}  # fmt: skip


def features_of(objective: Mcn, seed: int):
    video, audio = np.random.default_rng(seed).standard_normal((2, BATCH, CHANNELS))
    return {
        objective.video_read: Features(jnp.asarray(video, jnp.float32)),
        objective.audio_read: Features(jnp.asarray(audio, jnp.float32)),
    }


def batch_of(step: int = 0, present: bool = True):
    there = jnp.full(BATCH, present)
    return {
        "index": jnp.arange(BATCH),
        "step": jnp.int32(step),
        "present": {"video": there, "audio": there},
    }


def started(**keys):
    objective = Mcn(**{**KEYS, **keys})

    @jax.jit
    def made(key):
        rngs = {"params": key, "draw": key}
        return objective.init(rngs, features_of(objective, 0), batch_of(), method="initialise")

    return objective, made(jax.random.key(0))


def step_of(objective, variables, step: int, *, train: bool = True, present: bool = True):
    """(outputs, outcome, memory after it) of one step on features of its own."""

    @jax.jit
    def compiled(variables):
        features, batch = features_of(objective, step), batch_of(step, present)
        outputs = objective.apply(variables, features, batch, train=train, method="heads")
        rngs = {"draw": jax.random.key(step)}
        outcome, updated = objective.apply(
            variables, outputs, batch, train=train, rngs=rngs, mutable=["memory"]
        )
        return outputs, outcome, updated["memory"]

    return compiled(variables)


def fused(outputs):
    return (outputs["video"] + outputs["audio"]) / 2


def test_memory_stays_as_it_is_outside_training():
    objective, variables = started()
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(variables["memory"]))
    _, outcome, memory = step_of(objective, variables, 0, train=False)
    assert np.isfinite(outcome.loss)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(memory))


def test_memory_over_steps():
    """Half of each batch comes to the front; centroids move every second step."""
    objective, variables = started()
    queued, centroids = [], []
    for step in range(5):
        outputs, outcome, memory = step_of(objective, variables, step)
        variables = {**variables, "memory": memory}
        queued = [fused(outputs)[: BATCH // 2], *queued][:3]
        found = memory["queue"][: BATCH // 2 * len(queued)]
        np.testing.assert_allclose(found, jnp.concatenate(queued), rtol=1e-5, atol=1e-6)
        centroids.append(memory["centroids"])
        assert 1 <= outcome.metrics["clusters_of_batch"] <= 3
    assert np.all(np.any(centroids[0] != 0, axis=1))
    moved = [bool(np.any(a != b)) for a, b in itertools.pairwise(centroids)]
    assert moved == [False, True, False, True]


def test_the_queue_counts_once_it_is_full():
    """With one cluster its centroid is the mean of whatever is clustered."""
    objective, variables = started(num_clusters=1, queue_rows=8, refit_every_steps=1)
    blocks = []
    for step in range(3):
        outputs, _, memory = step_of(objective, variables, step)
        rows = fused(outputs)
        clustered = jnp.concatenate([rows, *blocks]) if step == 2 else rows
        np.testing.assert_allclose(
            memory["centroids"][0], clustered.mean(axis=0), rtol=1e-4, atol=1e-6
        )
        variables = {**variables, "memory": memory}
        blocks.append(rows[: BATCH // 2])


def test_an_evaluation_names_the_nearest_cluster():
    objective, variables = started()
    assert objective.clusters(step_of(objective, variables, 0)[0]) == {}
    _, _, memory = step_of(objective, variables, 0)
    outputs, _, _ = step_of(objective, {**variables, "memory": memory}, 1, train=False)
    embeddings = {"video": outputs["video"], "audio": outputs["audio"], "joint": fused(outputs)}
    centroids = memory["centroids"] / jnp.linalg.norm(memory["centroids"], axis=1, keepdims=True)
    named = objective.clusters(outputs)
    assert named.keys() == embeddings.keys()
    for kind, found in named.items():
        np.testing.assert_array_equal(found, jnp.argmax(embeddings[kind] @ centroids.T, axis=1))
    assert len({*named["video"].tolist(), *named["audio"].tolist()}) > 1


@pytest.mark.parametrize(("restart_every_steps", "drawn_anew"), [(0, False), (3, True)])
def test_restart(restart_every_steps, drawn_anew):
    """Without iterations of k-means centroids are what they started as: rows, or what they were."""
    objective, variables = started(
        restart_every_steps=restart_every_steps, kmeans_iterations=0, refit_every_steps=1,
        queue_rows=16,
    )  # fmt: skip
    for step in (0, 1, 2, 3):
        outputs, _, memory = step_of(objective, variables, step)
        rows = fused(outputs)
        gap = jnp.abs(memory["centroids"][:, None] - rows[None]).max(axis=2).min(axis=1)
        if step in (0, 3):
            assert bool(np.all(gap < 1e-5)) == (step == 0 or drawn_anew)
        variables = {**variables, "memory": memory}


def test_a_first_batch_of_nothing_starts_no_clusters():
    objective, variables = started()
    _, outcome, memory = step_of(objective, variables, 0, present=False)
    assert outcome.loss == 0.0
    assert outcome.metrics["clusters_of_batch"] == 0
    variables = {**variables, "memory": memory}
    _, _, memory = step_of(objective, variables, 1)
    assert np.any(memory["centroids"] != 0)


def test_the_clustering_loss_begins_on_time():
    """At its first step centroids are drawn anew, since rows of a beginner's batch mean little."""
    objective, variables = started(cluster_from_step=1, kmeans_iterations=0, refit_every_steps=9)
    totals = []
    for step in (0, 1):
        outputs, outcome, memory = step_of(objective, variables, step)
        found = outcome.metrics
        rest = outcome.loss - found["contrastive_loss"] - 50 * found["reconstruction_loss"]
        totals.append((float(rest), float(found["clustering_loss"])))
        variables = {**variables, "memory": memory}
    np.testing.assert_allclose(totals[0][0], 0.0, atol=1e-4)
    np.testing.assert_allclose(totals[1][0], totals[1][1], rtol=1e-4)
    gap = jnp.abs(memory["centroids"][:, None] - fused(outputs)[None]).max(axis=2).min(axis=1)
    assert np.all(gap < 1e-5)


@pytest.mark.parametrize("target_gradient", [False, True])
def test_where_the_reconstruction_sends_gradients(target_gradient):
    """Into the embedding always; into the target by the flag, and then for sound alone."""
    objective, variables = started(target_gradient=target_gradient)
    # A decoder that answers 0 passes nothing to the embedding: what is left comes by the target.
    params = dict(variables["params"])
    for name in ("video_decoder", "audio_decoder"):
        params[name] = jax.tree.map(jnp.zeros_like, params[name])

    def error(arrays, name, unit):
        reads = zip((objective.video_read, objective.audio_read), arrays, strict=True)
        features = {read: Features(array) for read, array in reads}
        one = objective.clone(unit_targets=unit)
        outputs = one.apply(
            {**variables, "params": params}, features, batch_of(), train=True, method="heads"
        )
        return jnp.sum(outputs[f"{name}_error"])

    arrays = tuple(one.embedding for one in features_of(objective, 0).values())
    for name, place, reaches in (("video", 0, False), ("audio", 1, target_gradient)):
        gradient = jax.grad(error)(arrays, name, False)[place]
        assert bool(np.any(gradient != 0)) == reaches
        # The mean square of a vector of length 1.
        np.testing.assert_allclose(error(arrays, name, True), BATCH / CHANNELS, rtol=1e-5)


def test_embeddings_of_a_fixed_length():
    objective, variables = started(normalise=True, temperature=0.25)
    outputs, _, _ = step_of(objective, variables, 0)
    lengths = jnp.linalg.norm(outputs["video"], axis=1)
    np.testing.assert_allclose(lengths, 2.0, rtol=1e-5)
    scores = objective.apply(variables, outputs["video"], outputs["audio"], method="similarity")
    np.testing.assert_allclose(scores, outputs["video"] @ outputs["audio"].T, rtol=1e-5)


def test_refuses_a_queue_that_does_not_hold_whole_half_batches():
    objective, variables = started()
    objective = objective.clone(queue_rows=10)
    with pytest.raises(UsageError, match=r"4 rows: set objectives\.mcn\.queue_rows to a multiple"):
        step_of(objective, {"params": variables["params"]}, 0, train=False)


def test_refuses_to_do_nothing():
    config = small_config("mcn", precision="float32")
    config.objectives.mcn.refit_every_steps = 0
    with pytest.raises(UsageError, match="refit_every_steps must be at least 1"):
        build_model(config)
