"""k nearest neighbours on frozen features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from avssl.evaluate.blocks import block_rows, in_blocks
from avssl.evaluate.checks import finite_features, labelled, several_classes

TEST_BLOCK = 1024
TRAIN_BLOCK = 4096


def knn_hits(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Int[np.ndarray, "n"],
    test_features: Float[np.ndarray, "m d"],
    test_labels: Int[np.ndarray, "m"],
    *,
    neighbours: int = 20,
    temperature: float | None = 0.07,
) -> Bool[np.ndarray, "m"]:
    """Whether the class of each test clip wins the vote of its nearest training clips.

    Nearness is the cosine; each neighbour votes for its class with exp(cosine / temperature) (Wu
    et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    section 3.4, temperature 0.07; 20 neighbours where they take 200), or with 1 where temperature
    is None. With fewer training clips than `neighbours`, all of them vote. Of equally near clips
    the first in the training set is taken, of classes with equal votes the smallest label.
    scikit-learn's KNeighborsClassifier(metric="cosine") gives the same with weights="uniform" or
    weights=lambda distance: exp((1 - distance) / temperature).
    """
    test_labels = labelled(test_features, test_labels, protocol="kNN", part="test")
    winners = knn_predictions(
        train_features, train_labels, test_features, neighbours=neighbours, temperature=temperature
    )
    return winners == test_labels


def knn_predictions(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Int[np.ndarray, "n"],
    test_features: Float[np.ndarray, "m d"],
    *,
    neighbours: int = 20,
    temperature: float | None = 0.07,
) -> Int[np.ndarray, "m"]:
    """The class that wins for each test clip, as `knn_hits` says."""
    train_features = finite_features(train_features, "training features")
    test_features = finite_features(test_features, "test features")
    train_labels = labelled(train_features, train_labels, protocol="kNN", part="training")
    several_classes(train_labels, protocol="kNN")

    cosines, indices = nearest(train_features, test_features, neighbours)
    weights = np.ones_like(cosines, np.float64)
    if temperature is not None:
        # Relative to the nearest: the vote does not change, and no temperature overflows.
        weights = np.exp((cosines.astype(np.float64) - cosines[:, :1]) / temperature)
    return vote(train_labels[indices], weights)


def vote(labels: Int[np.ndarray, "m k"], weights: Float[np.ndarray, "m k"]) -> np.ndarray:
    """The label with the largest sum of weights in each row; the smallest of them at a tie."""
    classes, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape)
    winners = np.empty(len(labels), classes.dtype)
    for start in range(0, len(labels), TEST_BLOCK):
        rows = slice(start, start + TEST_BLOCK)
        slots = compact[rows] + len(classes) * np.arange(len(compact[rows]))[:, None]
        sums = np.bincount(slots.ravel(), weights[rows].ravel(), len(slots) * len(classes))
        winners[rows] = classes[sums.reshape(len(slots), len(classes)).argmax(axis=1)]
    return winners


def nearest(
    train: Float[np.ndarray, "n d"], test: Float[np.ndarray, "m d"], neighbours: int
) -> tuple[Float[np.ndarray, "m k"], Int[np.ndarray, "m k"]]:
    """Cosine and index of the nearest training rows of each test row, nearest first."""
    neighbours = min(neighbours, len(train))
    block = block_rows(len(train), TRAIN_BLOCK)
    train_blocks = jnp.asarray(in_blocks(unit_rows(train), block, 0.0))
    parts = []
    for rows in in_blocks(unit_rows(test), block_rows(len(test), TEST_BLOCK), 0.0):
        parts.append(nearest_of_block(train_blocks, rows, len(train), neighbours=neighbours))
    cosines, indices = (np.concatenate(part)[: len(test)] for part in zip(*parts, strict=True))
    return cosines, indices


@functools.partial(jax.jit, static_argnames="neighbours")
def nearest_of_block(
    train_blocks: Float[Array, "blocks rows d"],
    test: Float[Array, "m d"],
    num_train: int,
    *,
    neighbours: int,
) -> tuple[Float[Array, "m k"], Int[Array, "m k"]]:
    block = train_blocks.shape[1]

    def merge(best, numbered):
        number, train = numbered
        cosines = jnp.einsum("md,nd->mn", test, train, precision="highest")
        indices = number * block + jnp.arange(block, dtype=jnp.int32)
        cosines = jnp.where((indices < num_train)[None], cosines, -jnp.inf)
        # top_k takes the first of equals, so earlier blocks stand before later ones.
        cosines = jnp.concatenate([best[0], cosines], axis=1)
        indices = jnp.broadcast_to(indices[None], (len(test), block))
        indices = jnp.concatenate([best[1], indices], axis=1)
        cosines, places = jax.lax.top_k(cosines, neighbours)
        return (cosines, jnp.take_along_axis(indices, places, axis=1)), None

    none_yet = (
        jnp.full((len(test), neighbours), -jnp.inf, test.dtype),
        jnp.zeros((len(test), neighbours), jnp.int32),
    )
    numbers = jnp.arange(len(train_blocks), dtype=jnp.int32)
    best, _ = jax.lax.scan(merge, none_yet, (numbers, train_blocks))
    return best


def unit_rows(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)
