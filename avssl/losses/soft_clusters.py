"""Soft clusters of a feature map, learnt through: Deep Multimodal Clustering.

Hu, Nie and Li 2019 (CVPR, arXiv 1807.03094). Two forms: the paper's, with a projection per cluster
and a max-margin loss, and the authors' later one (Simplified_DMC), a soft k-means with a
contrastive loss on distances. Both give an assignment map beside the centers, [batch, clusters,
positions]: how far each position belongs to each cluster, which is what localises objects.

A map is a list of vectors here, [batch, positions, channels], in the order of its positions: the
simplified form takes its first centers at fixed positions. Nothing mixes examples before a loss, and
an example of zeros gives finite numbers and gradients everywhere.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar, unit_rows
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present, weighted_mean

# Keras' epsilon, under the root of a length.
LENGTH_EPSILON = 1e-7
# Simplified_DMC's: the least squared distance, and the one under the root of its loss.
DISTANCE_EPSILON, LOSS_EPSILON = 1e-10, 1e-9


def squash(vectors: Float[Array, "*rows d"]) -> Float[Array, "*rows d"]:
    """tanh(10 |x|) x / |x|: length 1, but for vectors shorter than about 0.3. Zeros stay zeros."""
    wide = widen(vectors)
    length = jnp.sqrt(jnp.sum(wide**2, axis=-1, keepdims=True) + LENGTH_EPSILON)
    return jnp.tanh(10.0 * length) / length * wide


def projected_clusters(
    vectors: Float[Array, "b n c"],
    weight: Float[Array, "c k d"],
    *,
    num_routings: int = 3,
    routing_sharpness: float = 1.0,
) -> tuple[Float[Array, "b k d"], Float[Array, "b k n"]]:
    """The paper's clusters: their centers, and the assignment map (a softmax over clusters).

    u_n are the squashed vectors, W_k is `weight[:, k]`, shared by both modalities. From b = 0 each
    routing takes c = softmax of b over clusters, o_k = sum_n c_kn W_k u_n, and before the next one
    b_kn = routing_sharpness <o_k / |o_k|, W_k u_n>. The centers are the last o, squashed. Paper: c 512,
    k 10, d 16 and sharpness 1, which hardly tells positions apart: |u| is at most 1, and fresh
    weights leave |W_k u| at about a third, so that all b lie within a third of each other.

    Departure from the released Keras code: cluster k's assignment meets projection k alone, as in
    the paper. There, later versions of Keras sum over all pairs of clusters, which cancels it.
    """
    projected = _einsum("bnc,ckd->bknd", squash(vectors), weight)
    logits = jnp.zeros(projected.shape[:3], projected.dtype)
    assignment = jax.nn.softmax(logits, axis=1)
    centers = _einsum("bkn,bknd->bkd", assignment, projected)
    for _ in range(num_routings - 1):
        logits = _einsum("bkd,bknd->bkn", _unit(centers), projected)
        assignment = jax.nn.softmax(routing_sharpness * logits, axis=1)
        centers = _einsum("bkn,bknd->bkd", assignment, projected)
    return squash(centers), assignment


def cluster_cosines(
    audio: Float[Array, "b k d"], video: Float[Array, "b k d"]
) -> Float[Array, "b k"]:
    """Cosine of each audio center with the video center of the same number.

    Their sum over k is the paper's score of a pair. (The released code compares the first half of
    the clusters with the second, because it joins the modalities along another axis than it splits.)
    """
    return jnp.sum(_unit(audio) * _unit(video), axis=-1)


def assignment_entropy(assignment: Float[Array, "b k n"]) -> Float[Array, "b"]:
    """How undecided an assignment is, mean over positions: 0 is one cluster each, 1 is all alike.

    In shares of log k, and 0 where there is one cluster. No gradient.
    """
    shares = jax.lax.stop_gradient(assignment)
    entropy = -jnp.sum(jax.scipy.special.xlogy(shares, shares), axis=1)
    return jnp.mean(entropy, axis=1) / math.log(max(assignment.shape[1], 2))


def max_margin_loss(
    right: Float[Array, "b"],
    wrong: Float[Array, "b"],
    *,
    margin: float,
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """Mean of relu(margin + wrong - right): scores of an image with its own and with another sound.

    The released margin is the number of clusters, the largest score there is. Mean over the rows
    that are `present`, that is, have all three; 0 if there is none. Accuracy: right above wrong.
    """
    gap = blank_absent(right, present) - blank_absent(wrong, present)
    return mean_present(jax.nn.relu(margin - gap), present), {
        "accuracy": mean_present((gap > 0.0).astype(gap.dtype), present),
        "num_pairs": jnp.sum(present.astype(gap.dtype)),
    }


def soft_kmeans(
    vectors: Float[Array, "b n d"],
    *,
    num_clusters: int,
    num_iterations: int = 4,
    sharpness: float = 30.0,
) -> tuple[Float[Array, "b k d"], Float[Array, "b k n"]]:
    """Simplified_DMC's clusters: their centers, and the assignment map.

    An iteration assigns by the softmax over clusters of -sharpness * distance, then takes the means
    of the vectors under it as centers. The first centers are every (n // k)-th vector. Released: 2
    video clusters and 1 of audio for one source. Sharpness 30 is nearly a hard choice: where
    distances are not well below 1 its gradient vanishes, so the scale of the vectors matters.

    Departure: the weights of a mean are normalised in the log domain. That is the same number where
    the released division has one, and leaves a cluster that nothing belongs to at its nearest
    vectors instead of at 0 / 0. With fewer vectors than clusters several centers start as the first.
    """
    vectors = widen(vectors)
    step = vectors.shape[1] // num_clusters
    centers = vectors[:, jnp.arange(num_clusters) * step]
    for _ in range(num_iterations):
        distance = center_distances(centers, vectors)
        log_assignment = jax.nn.log_softmax(-sharpness * distance, axis=1)
        centers = _einsum("bkn,bnd->bkd", jax.nn.softmax(log_assignment, axis=2), vectors)
    return centers, jnp.exp(log_assignment)


def center_distances(
    first: Float[Array, "b k d"], second: Float[Array, "b n d"]
) -> Float[Array, "b k n"]:
    """Euclidean distances within each example, at least 1e-5 and without a gradient there."""
    # Not by |a|^2 - 2ab + |b|^2, which leaves a vector's distance to itself at about 1e-3 in float32.
    difference = widen(first)[:, :, None] - widen(second)[:, None]
    square = jnp.sum(difference**2, axis=-1)
    return jnp.sqrt(jnp.maximum(square, DISTANCE_EPSILON))


def contrastive_distance_loss(
    distance: Float[Array, "b k"],
    corresponds: Bool[Array, "b"],
    *,
    margin: float = 5.0,
    present: Bool[Array, "b"],
    weights: Float[Array, "b"] | None = None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Simplified_DMC's loss, of the distances of each audio center to the nearest video center.

    With D = sqrt(sum_k distance_k^2), the mean of D^2 / 2 over pairs that correspond and of
    relu(margin - D)^2 / 2 over those that do not. Mean over the pairs that are `present`, each by
    its weight (all alike by default); 0 if there is none. Unscaled features of 512 channels start
    far beyond the margin (D about 27): there only the pairs that correspond pull. Metrics: mean D of
    either kind, unweighted.
    """
    square = jnp.sum(blank_absent(distance, present) ** 2, axis=-1)
    length = jnp.sqrt(square + LOSS_EPSILON)
    apart = jax.nn.relu(margin - length) ** 2
    return 0.5 * weighted_mean(jnp.where(corresponds, square, apart), weights, present), {
        "positive_distance": mean_present(length, present & corresponds),
        "negative_distance": mean_present(length, present & ~corresponds),
        "num_pairs": jnp.sum(present.astype(square.dtype)),
    }


def _unit(vectors: Float[Array, "b k d"]) -> Float[Array, "b k d"]:
    return unit_rows(vectors.reshape(-1, vectors.shape[-1])).reshape(vectors.shape)


def _einsum(formula: str, first: Array, second: Array) -> Array:
    return jnp.einsum(
        formula, first, second.astype(first.dtype), precision=jax.lax.Precision.HIGHEST
    )
