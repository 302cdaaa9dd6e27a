"""How well clusters agree with classes, and clusters of frozen features by k-means."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from avssl.errors import UsageError
from avssl.evaluate.checks import finite_features, labelled
from avssl.evaluate.intervals import LEAST_RESAMPLES, Interval, intervals_of, num_resamples
from avssl.evaluate.knn import unit_rows
from avssl.losses.kmeans import kmeans, plus_plus_rows

SHUFFLES = 10
# What the numbers of a table cost that do not grow with it, in `intervals_of`'s unit.
ELEMENTS_OF_A_TABLE = 10**5
# Of a sum of logarithms over many clips.
ROUNDING = 1e-9


def clustering(
    labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"], expected: float | None = None
) -> dict[str, float]:
    """The agreement of a cluster per clip with a class per clip, both as any numbers from 0.

    - `nmi`: mutual information over the mean of both entropies.
    - `ami`: the same beyond what random clusters of these sizes give (Vinh et al. 2010), which
      SeLaVi calls aNMI; at chance 0, and a little below it by bad luck.
    - `ari`: pairs of clips that are together, or apart, in both, beyond chance in the same way
      (Hubert and Arabie 1985).
    - `accuracy`: the share of clips in the cluster of their class, after the one-to-one matching of
      clusters and classes that makes it largest. Clusters left over count as wrong.
    - `purity`: the share of clips of their cluster's most frequent class.
    - `mean_max_purity`: the share of that class in a cluster, as the mean over clusters, large or
      small; SeLaVi's purity (Asano et al. 2020).
    - `mean_entropy`: of the classes in a cluster, in nats, as the mean over clusters; SeLaVi's too.
      The lower the better.

    Purity and entropy improve with the number of clusters whatever they are: compare at equal
    numbers, and with `clustering_chance`.

    expected: their `expected_of`, the dearest part of all this, where it is known.
    """
    return agreement_of(contingency(labels, clusters), expected)


def expected_of(labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]) -> float:
    """The expected mutual information, which shuffled labels or clusters have as well."""
    table = contingency(labels, clusters)
    return expected_mutual_information(table.sum(axis=1), table.sum(axis=0))


def agreement_of(
    table: Int[np.ndarray, "classes clusters"], expected: float | None = None
) -> dict[str, float]:
    return {
        "nmi": normalised_mutual_information(table),
        "ami": adjusted_mutual_information(table, expected),
        "ari": adjusted_rand_index(table),
        "accuracy": matched_accuracy(table),
        "purity": float(table.max(axis=0).sum() / table.sum()),
        "mean_max_purity": float(np.mean(table.max(axis=0) / table.sum(axis=0))),
        "mean_entropy": mean_entropy(table),
    }


def clustering_chance(
    labels: Int[np.ndarray, "n"],
    clusters: Int[np.ndarray, "n"],
    expected: float | None = None,
    *,
    seed: int = 0,
) -> dict[str, float]:
    """What clusters of the same sizes give on average when the clips in them are shuffled."""
    rng = np.random.default_rng(seed)
    if expected is None:
        expected = expected_of(labels, clusters)
    draws = [clustering(labels, rng.permutation(clusters), expected) for _ in range(SHUFFLES)]
    return {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}


def clustering_intervals(
    labels: Int[np.ndarray, "n"],
    clusters: Int[np.ndarray, "n"],
    values: Mapping[str, float],
    expected: float | None = None,
) -> dict[str, Interval]:
    """Of other clips in these clusters: no resample is clustered anew.

    Of large tables, where it would take all the time, the expected mutual information in `ami` is that of the
    clips as they are, and not of each resample. It hardly differs where most clusters have ten clips or more.
    """
    table = contingency(labels, clusters)
    rows, columns = (np.unique(numbers, return_inverse=True)[1] for numbers in (labels, clusters))
    cells = rows * table.shape[1] + columns
    place = csr_array(
        (np.ones(len(cells), np.float32), (cells, np.arange(len(cells)))),
        shape=(table.size, len(cells)),
    )

    # What each resample costs: mostly the expected mutual information.
    largest = np.minimum(table.sum(axis=1)[:, None], table.sum(axis=0)[None])
    work = ELEMENTS_OF_A_TABLE + len(labels) + 10 * int(largest.sum())
    if num_resamples(work) > LEAST_RESAMPLES:
        expected = None
    elif expected is None:
        expected = expected_of(labels, clusters)

    def statistics(times: np.ndarray) -> dict[str, np.ndarray]:
        tables = (place @ times).T.reshape(-1, *table.shape).round().astype(np.int64)
        met = (one[one.any(axis=1)][:, one.any(axis=0)] for one in tables)
        found = [agreement_of(one, expected) for one in met]
        return {metric: np.array([each[metric] for each in found]) for metric in values}

    return intervals_of(statistics, values, len(labels), num_elements=work)


def contingency(
    labels: Int[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "classes clusters"]:
    """How many clips of each class are in each cluster; classes and clusters without any left out."""
    clusters = np.asarray(clusters)
    if (clusters < 0).any():
        raise ValueError(f"{(clusters < 0).sum()} of {len(clusters)} clips have no cluster")
    labels = labelled(clusters, labels, protocol="clustering", part="test")
    classes, rows = np.unique(labels, return_inverse=True)
    groups, columns = np.unique(clusters, return_inverse=True)
    shape = (len(classes), len(groups))
    cells = np.ravel_multi_index((rows, columns), shape)
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def normalised_mutual_information(table: Int[np.ndarray, "classes clusters"]) -> float:
    mean = (entropy(table.sum(axis=1)) + entropy(table.sum(axis=0))) / 2
    # One class in one cluster: nothing is uncertain, and nothing disagrees.
    return min(mutual_information(table) / mean, 1.0) if mean > 0 else 1.0


def adjusted_mutual_information(
    table: Int[np.ndarray, "classes clusters"], expected: float | None = None
) -> float:
    of_classes, of_clusters = table.sum(axis=1), table.sum(axis=0)
    largest = (entropy(of_classes) + entropy(of_clusters)) / 2
    if expected is None:
        expected = expected_mutual_information(of_classes, of_clusters)
    room = largest - expected
    if room < ROUNDING:
        # Each clip alone, or all as one, in both: no clustering of these sizes would disagree.
        return 1.0
    return min((mutual_information(table) - expected) / room, 1.0)


def adjusted_rand_index(table: Int[np.ndarray, "classes clusters"]) -> float:
    def pairs(counts: np.ndarray) -> float:
        wide = counts.astype(np.float64)
        return float((wide * (wide - 1) / 2).sum())

    together = pairs(table)
    of_classes, of_clusters = pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    of_all = pairs(table.sum(keepdims=True))
    expected = of_classes * of_clusters / max(of_all, 1.0)
    largest = (of_classes + of_clusters) / 2
    # Both group everything, or both nothing.
    return (together - expected) / (largest - expected) if largest != expected else 1.0


def matched_accuracy(table: Int[np.ndarray, "classes clusters"]) -> float:
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / table.sum())


def mean_entropy(table: Int[np.ndarray, "classes clusters"]) -> float:
    """Of the classes in a cluster, in nats, as the mean over clusters."""
    shares = table / table.sum(axis=0)
    return float(-np.mean((shares * np.log(np.where(table > 0, shares, 1.0))).sum(axis=0))) + 0.0


def entropy(counts: Int[np.ndarray, "k"]) -> float:
    """In nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def mutual_information(table: Int[np.ndarray, "classes clusters"]) -> float:
    """In nats."""
    shares = table / table.sum()
    apart = shares.sum(axis=1)[:, None] * shares.sum(axis=0)[None]
    there = shares > 0
    information = (shares[there] * np.log(shares[there] / apart[there])).sum()
    return max(float(information), 0.0)


def expected_mutual_information(
    of_classes: Int[np.ndarray, "classes"], of_clusters: Int[np.ndarray, "clusters"]
) -> float:
    """The mean of `mutual_information` over all clusterings of these sizes, in nats.

    Each cell of the table is then hypergeometric (Vinh et al. 2010). Equal sizes are
    computed once.
    """
    num_clips = int(of_classes.sum())
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, num_clips + 1)))])
    class_sizes, class_counts = np.unique(of_classes, return_counts=True)
    cluster_sizes, cluster_counts = np.unique(of_clusters, return_counts=True)
    total = 0.0
    for a, num_a in zip(class_sizes.tolist(), class_counts.tolist(), strict=True):
        # Of each size of a cluster, all numbers of clips that it can share with the class.
        least = np.maximum(1, a + cluster_sizes - num_clips)
        lengths = np.minimum(a, cluster_sizes) - least + 1
        begins = np.cumsum(lengths) - lengths
        both = np.arange(lengths.sum()) - np.repeat(begins - least, lengths)
        b = np.repeat(cluster_sizes, lengths)
        log_chance = (
            log_factorial[a]
            + log_factorial[b]
            + log_factorial[num_clips - a]
            + log_factorial[num_clips - b]
            - log_factorial[num_clips]
            - log_factorial[both]
            - log_factorial[a - both]
            - log_factorial[b - both]
            - log_factorial[num_clips - a - b + both]
        )
        gain = both / num_clips * (np.log(both) + np.log(num_clips) - np.log(a) - np.log(b))
        weights = num_a * np.repeat(cluster_counts, lengths)
        total += float((weights * gain * np.exp(log_chance)).sum())
    return total


def cluster_features(
    features: Float[np.ndarray, "n d"],
    num_clusters: int,
    *,
    seed: int = 0,
    restarts: int = 10,
    unit_length: bool = True,
) -> Int[np.ndarray, "n"]:
    """A cluster per row by k-means, the tightest of several that start from k-means++.

    Rows are scaled to length 1 first, so that nearness is the cosine as in kNN; `unit_length` False
    takes them as they are. The same on every call with equal arguments.
    """
    features = finite_features(features, "features to cluster")
    if not 1 <= num_clusters <= len(features):
        raise UsageError(f"{len(features)} clips cannot make {num_clusters} clusters")
    rows = jnp.asarray(unit_rows(features) if unit_length else features)
    keys = jax.random.split(jax.random.key(seed), restarts)
    tries = [_cluster(key, rows, num_clusters=num_clusters) for key in keys]
    return np.asarray(min(tries, key=lambda found: float(found["inertia"]))["labels"])


@functools.partial(jax.jit, static_argnames="num_clusters")
def _cluster(key: jax.Array, rows: jax.Array, *, num_clusters: int) -> dict[str, jax.Array]:
    initial = plus_plus_rows(key, rows, num_clusters, present=jnp.ones(len(rows), bool))
    return kmeans(rows, initial)
