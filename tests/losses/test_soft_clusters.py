"""DMC's clusters against loops in numpy, and what they do with difficult input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.soft_clusters import (
    assignment_entropy,
    center_distances,
    cluster_cosines,
    contrastive_distance_loss,
    max_margin_loss,
    projected_clusters,
    soft_kmeans,
    squash,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 0, 1, 1, 0], bool)

projected = jax.jit(projected_clusters)
kmeans = jax.jit(soft_kmeans, static_argnames=("num_clusters", "sharpness"))


def vectors(batch=2, positions=7, channels=6, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, positions, channels))


def length(x):
    return np.sqrt((x**2).sum())


def naive_squash(x):
    norm = np.sqrt((x**2).sum() + 1e-7)
    return np.tanh(10 * norm) * x / norm


def softmax(logits):
    return np.exp(logits - np.max(logits)) / np.exp(logits - np.max(logits)).sum()


def naive_projected(example, weight, num_routings, sharpness):
    """Centers and assignment of one example, position by position."""
    num_clusters = weight.shape[1]
    positions = [naive_squash(u) for u in example]
    parts = [[weight[:, k].T @ u for u in positions] for k in range(num_clusters)]
    logits = np.zeros((num_clusters, len(positions)))
    for routing in range(num_routings):
        c = np.stack([softmax(logits[:, n]) for n in range(len(positions))], axis=1)
        centers = [sum(c[k, n] * part for n, part in enumerate(parts[k])) for k in range(len(c))]
        if routing < num_routings - 1:
            for k, n in np.ndindex(logits.shape):
                logits[k, n] = sharpness * (centers[k] / length(centers[k]) @ parts[k][n])
    return np.stack([naive_squash(o) for o in centers]), c


def naive_kmeans(example, num_clusters, iterations, sharpness):
    centers = [example[len(example) // num_clusters * k] for k in range(num_clusters)]
    for _ in range(iterations):
        c = np.stack(
            [softmax([-sharpness * max(length(o - u), 1e-5) for o in centers]) for u in example],
            axis=1,
        )
        centers = [c[k] @ example / c[k].sum() for k in range(num_clusters)]
    return np.stack(centers), c


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("num_routings", "sharpness"), [(1, 1.0), (3, 1.0), (3, 5.0)])
def test_projected_clusters_equal_loops(num_routings, sharpness):
    x, weight = vectors(), np.random.default_rng(1).standard_normal((6, 3, 4))
    static = ("num_routings", "routing_sharpness")
    centers, assignment = jax.jit(projected_clusters, static_argnames=static)(
        jnp.asarray(x), jnp.asarray(weight), num_routings=num_routings, routing_sharpness=sharpness
    )
    for row, example in enumerate(x):
        expected = naive_projected(example, weight, num_routings, sharpness)
        np.testing.assert_allclose(centers[row], expected[0], atol=1e-12)
        np.testing.assert_allclose(assignment[row], expected[1], atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("num_clusters", "sharpness"), [(1, 30.0), (2, 2.0), (3, 30.0)])
def test_soft_kmeans_equals_loops(num_clusters, sharpness):
    x = vectors(positions=8)
    centers, assignment = kmeans(jnp.asarray(x), num_clusters=num_clusters, sharpness=sharpness)
    for row, example in enumerate(x):
        expected = naive_kmeans(example, num_clusters, 4, sharpness)
        np.testing.assert_allclose(centers[row], expected[0], atol=1e-12)
        np.testing.assert_allclose(assignment[row], expected[1], atol=1e-12)


def finite_gradient(function, x):
    value, gradient = jax.jit(jax.value_and_grad(function))(jnp.asarray(x, jnp.float32))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    return gradient


DIFFICULT = {
    "zeros": np.zeros((2, 6, 4)),
    "equal": np.ones((2, 6, 4)),
    "large": 1e4 * vectors(2, 6, 4),
    "small": 1e-12 * vectors(2, 6, 4),
}


@pytest.mark.parametrize("x", DIFFICULT.values(), ids=DIFFICULT)
def test_difficult_features_give_finite_clusters_and_gradients(x):
    weight = jnp.asarray(vectors(4, 3, 5), jnp.float32)
    cotangent = jnp.asarray(vectors(2, 3, 4, seed=2), jnp.float32)

    def scores(x):
        centers, assignment = projected_clusters(x, weight)
        return jnp.sum(cluster_cosines(centers, centers[::-1])) + jnp.sum(assignment[:, 0])

    def pulled(x):
        centers, assignment = soft_kmeans(x, num_clusters=3)
        nearest = jnp.min(center_distances(centers, centers[::-1]), axis=1)
        return jnp.sum(centers * cotangent) + jnp.sum(nearest) + jnp.sum(assignment[:, 0])

    finite_gradient(scores, x)
    finite_gradient(pulled, x)


def test_a_cluster_that_empties_stays_finite():
    """In the second iteration the third center is nearest to none of these, by far."""
    positions = [[4, 3], [-6, -1], [3, -4], [-3, 0], [3, 3], [-6, -2]]
    x = 1e3 * np.array([positions], np.float32)
    iterate = jax.jit(soft_kmeans, static_argnames=("num_clusters", "num_iterations"))
    centers, assignment = iterate(jnp.asarray(x), num_clusters=3, num_iterations=2)
    assert (np.asarray(assignment).sum(axis=2) == 0).any()
    assert np.isfinite(centers).all()
    finite_gradient(lambda x: jnp.sum(soft_kmeans(x, num_clusters=3)[0]), x)


def test_more_clusters_than_vectors():
    x = jnp.asarray(vectors(2, 3, 4), jnp.float32)
    centers, assignment = kmeans(x, num_clusters=5)
    np.testing.assert_allclose(assignment, 0.2, rtol=1e-6)
    np.testing.assert_allclose(centers, np.broadcast_to(x.mean(1)[:, None], (2, 5, 4)), rtol=1e-4)


def test_clusters_find_two_groups():
    """Positions of two kinds: the map of each cluster is where one kind lies."""
    kind = np.array([0, 0, 1, 0, 1, 1, 0, 1])
    x = np.array([[3.0, 0.0], [0.0, 3.0]])[kind] + 0.1 * vectors(1, 8, 2)[0]
    _, assignment = kmeans(jnp.asarray(x[None], jnp.float32), num_clusters=2)
    hard = np.argmax(assignment[0], axis=0)
    assert (hard == kind).all() or (hard == 1 - kind).all()


def test_entropy_is_in_shares_of_the_largest():
    decided, halved, equal = [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.25] * 4
    assignment = jnp.array([[decided, decided], [halved, halved], [equal, decided]])
    found = assignment_entropy(assignment.swapaxes(1, 2))
    np.testing.assert_allclose(found, [0.0, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(assignment_entropy(jnp.ones((2, 1, 3))), 0.0)


def test_squash_keeps_direction_and_bounds_length():
    x = np.array([[3.0, 4.0], [1e-3, 0.0], [0.0, 0.0]], np.float32)
    y = np.asarray(squash(jnp.asarray(x)))
    np.testing.assert_allclose(y[0], [0.6, 0.8], rtol=1e-5)
    np.testing.assert_allclose(y[1, 0], np.tanh(10 * np.sqrt(1.1e-6)) / np.sqrt(1.1), rtol=1e-4)
    np.testing.assert_array_equal(y[2], 0.0)


@pytest.mark.usefixtures("float64")
def test_losses_equal_loops_and_leave_out_absent_rows():
    right, wrong = vectors(1, 2, 5)[0]
    corresponds = np.array([1, 1, 0, 1, 0], bool)
    corresponds[3] = False
    distance = np.abs(vectors(1, 5, 2, seed=3)[0])
    hinge = [max(0.0, 0.7 + w - r) for r, w, p in zip(right, wrong, PRESENT, strict=True) if p]
    d = np.sqrt((distance**2).sum(1) + 1e-9)
    apart = [
        0.5 * ((distance[i] ** 2).sum() if corresponds[i] else max(0.0, 2.5 - d[i]) ** 2)
        for i in np.flatnonzero(PRESENT)
    ]

    def of_scores(right, wrong):
        present = jnp.asarray(PRESENT)
        return max_margin_loss(right, wrong, margin=0.7, present=present)

    def of_distances(distance):
        together, present = jnp.asarray(corresponds), jnp.asarray(PRESENT)
        return contrastive_distance_loss(distance, together, margin=2.5, present=present)

    for filling in (None, np.nan, np.inf, 1e30):
        if filling is not None:
            right[~PRESENT] = wrong[~PRESENT] = distance[~PRESENT] = filling
        (loss, metrics), gradient = jax.value_and_grad(of_scores, has_aux=True)(
            jnp.asarray(right), jnp.asarray(wrong)
        )
        np.testing.assert_allclose(loss, np.mean(hinge), rtol=1e-12)
        np.testing.assert_allclose(metrics["accuracy"], (right > wrong)[PRESENT].mean())
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)
        (loss, metrics), gradient = jax.value_and_grad(of_distances, has_aux=True)(
            jnp.asarray(distance)
        )
        np.testing.assert_allclose(loss, np.mean(apart), rtol=1e-12)
        np.testing.assert_allclose(metrics["positive_distance"], d[0], rtol=1e-12)
        np.testing.assert_allclose(metrics["negative_distance"], d[2:4].mean(), rtol=1e-12)
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


def test_no_pairs_give_zero():
    nobody = jnp.zeros(5, bool)
    scores = jnp.full(5, jnp.nan)
    assert max_margin_loss(scores, scores, margin=3.0, present=nobody)[0] == 0.0
    loss, metrics = contrastive_distance_loss(scores[:, None], nobody, present=nobody)
    assert loss == 0.0
    assert metrics["positive_distance"] == metrics["negative_distance"] == 0.0


def test_bf16_is_computed_in_float32():
    x = jnp.asarray(vectors(), jnp.bfloat16)
    weight = jnp.asarray(vectors(6, 3, 4), jnp.float32)
    for centers, assignment in (projected(x, weight), kmeans(x, num_clusters=2)):
        assert centers.dtype == assignment.dtype == jnp.float32
