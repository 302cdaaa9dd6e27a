from functools import partial

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn import metrics as reference
from sklearn.cluster import KMeans
from sklearn.metrics.cluster import contingency_matrix

from avssl.errors import AvsslError, UsageError
from avssl.evaluate import clustering as module
from avssl.evaluate.clustering import (
    cluster_features,
    clustering,
    clustering_chance,
    clustering_intervals,
    contingency,
    expected_of,
)
from avssl.evaluate.intervals import NUM_RESAMPLES


def noisy_clusters(num_clips=300, num_classes=6, num_clusters=9, noise=0.4, seed=0):
    """Clusters follow the classes but for a share; the labels are not 0, 1, 2 ..."""
    rng = np.random.default_rng(seed)
    sizes = np.arange(1, num_classes + 1)
    classes = rng.choice(num_classes, num_clips, p=sizes / sizes.sum())
    random = rng.integers(0, num_clusters, num_clips)
    clusters = np.where(rng.random(num_clips) < noise, random, classes % num_clusters)
    return 3 * classes, 7 * (num_clusters - clusters)


@pytest.mark.parametrize("num_clusters", [4, 6, 9, 150])
@pytest.mark.parametrize("noise", [0.0, 0.4, 1.0])
def test_equals_scikit_learn(num_clusters, noise):
    labels, clusters = noisy_clusters(num_clusters=num_clusters, noise=noise)
    found = clustering(labels, clusters)
    assert found["nmi"] == pytest.approx(
        reference.normalized_mutual_info_score(labels, clusters), abs=1e-12
    )
    assert found["ami"] == pytest.approx(
        reference.adjusted_mutual_info_score(labels, clusters), abs=1e-10
    )
    assert found["ari"] == pytest.approx(reference.adjusted_rand_score(labels, clusters), abs=1e-12)
    table = contingency_matrix(labels, clusters)
    np.testing.assert_array_equal(contingency(labels, clusters), table)
    assert found["mean_entropy"] == pytest.approx(np.mean(entropy(table, axis=0)), abs=1e-12)
    assert found["purity"] == pytest.approx(table.max(axis=0).sum() / len(labels))


def test_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 2])
    clusters = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    found = clustering(labels, clusters)
    # The best matching: class 0 to cluster 0 (3), class 1 to cluster 1 (2), class 2 to 2 (1).
    assert found["accuracy"] == 6 / 10
    assert found["purity"] == (3 + 2 + 1) / 10
    assert found["mean_max_purity"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["mean_entropy"] == pytest.approx(2 / 3 * np.log(2))


def test_clusters_left_over_count_as_wrong():
    labels = np.repeat([0, 1], 10)
    halves = np.repeat([0, 1, 2, 3], 5)
    found = clustering(labels, halves)
    assert found["accuracy"] == 0.5
    assert found["purity"] == found["mean_max_purity"] == 1
    assert found["mean_entropy"] == 0


@pytest.mark.parametrize(
    ("labels", "clusters"),
    [
        (np.repeat(np.arange(5), 30), np.repeat([9, 1, 4, 0, 2], 30)),
        (np.zeros(6, int), np.zeros(6, int)),
        (np.arange(6), np.arange(6)[::-1]),
        (np.zeros(1, int), np.zeros(1, int)),
    ],
    ids=["permuted", "all as one", "each alone", "one clip"],
)
def test_agreement_is_exactly_one(labels, clusters):
    """Never a little more, which a table of results would refuse."""
    assert clustering(labels, clusters) == {
        "nmi": 1, "ami": 1, "ari": 1, "accuracy": 1, "purity": 1, "mean_max_purity": 1, "mean_entropy": 0
    }  # fmt: skip


@pytest.mark.parametrize("clusters", [np.zeros(40, int), np.arange(40)])
def test_a_collapsed_clustering_knows_nothing(clusters):
    labels = np.arange(40) % 4
    found = clustering(labels, clusters)
    assert found["ami"] == pytest.approx(0, abs=1e-12)
    assert found["ari"] == 0
    assert found["accuracy"] == pytest.approx(1 / 4 if clusters[-1] == 0 else 4 / 40)
    assert found["mean_entropy"] == pytest.approx(np.log(4) if clusters[-1] == 0 else 0)
    expected = reference.normalized_mutual_info_score(labels, clusters)
    assert found["nmi"] == pytest.approx(expected, abs=1e-12)


def test_chance_is_that_of_shuffled_clusters():
    labels, clusters = noisy_clusters()
    found, chance = clustering(labels, clusters), clustering_chance(labels, clusters)
    assert chance == clustering_chance(labels, clusters)
    assert abs(chance["ami"]) < 0.02
    assert abs(chance["ari"]) < 0.02
    for name in ("nmi", "accuracy", "purity"):
        assert 0 < chance[name] < found[name] - 0.1, name
    assert chance["mean_entropy"] > found["mean_entropy"] + 0.1


def test_intervals_are_of_clips_that_count_several_times(monkeypatch):
    labels, clusters = noisy_clusters()
    values = clustering(labels, clusters)
    found = clustering_intervals(labels, clusters, values)
    assert found.keys() == values.keys()
    assert all(low < values[metric] < high for metric, (low, high) in found.items())

    times = np.random.default_rng(0).integers(0, 2, (len(labels), 3))
    times[labels == 3, 2] = 0  # a resample without one of the classes
    monkeypatch.setattr(module, "intervals_of", lambda statistics, *_, **__: statistics(times))
    numbers = clustering_intervals(labels, clusters, values)
    for column in range(3):
        expected = clustering(*(np.repeat(array, times[:, column]) for array in (labels, clusters)))
        assert {metric: of[column] for metric, of in numbers.items()} == pytest.approx(expected)


def test_what_chance_expects_is_computed_once(monkeypatch):
    labels, clusters = noisy_clusters()
    values, chance = clustering(labels, clusters), clustering_chance(labels, clusters)
    expected = expected_of(labels, clusters)
    computed = []
    counted = partial(counting, module.expected_mutual_information, computed)
    monkeypatch.setattr(module, "expected_mutual_information", counted)
    assert clustering_chance(labels, clusters) == chance
    assert len(computed) == 1
    assert clustering_chance(labels, clusters, expected) == chance
    assert clustering(labels, clusters, expected) == values
    assert len(computed) == 1


def counting(function, calls, *arguments):
    calls.append(arguments)
    return function(*arguments)


def test_large_tables_have_nearly_the_interval_of_ami_that_each_resample_computes(monkeypatch):
    """Both ends within 2 % of the width; all other intervals are the same."""
    labels, clusters = noisy_clusters(num_clips=4000, num_classes=40, num_clusters=50)
    values = clustering(labels, clusters)
    monkeypatch.setattr(module, "num_resamples", lambda work: NUM_RESAMPLES)
    each = clustering_intervals(labels, clusters, values)
    monkeypatch.undo()
    computed = []
    counted = partial(counting, module.expected_mutual_information, computed)
    monkeypatch.setattr(module, "expected_mutual_information", counted)
    found = clustering_intervals(labels, clusters, values)
    assert len(computed) == 1
    low, high = each["ami"]
    assert found["ami"] == pytest.approx((low, high), abs=0.02 * (high - low))
    assert {**found, "ami": each["ami"]} == each


def test_labels_are_asked_for():
    with pytest.raises(UsageError, match="the clustering needs a label"):
        clustering(np.array([0, -1]), np.array([0, 1]))
    with pytest.raises(UsageError, match="there are none"):
        clustering(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(ValueError, match="labels of shape"):
        clustering(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match="1 of 2 clips have no cluster"):
        clustering(np.array([0, 1]), np.array([0, -1]))


def blobs(num_clips=200, num_classes=5, size=8, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_clips)
    features = rng.normal(size=(num_classes, size))[labels]
    return features + noise * rng.normal(size=features.shape), labels


@pytest.mark.parametrize("unit_length", [False, True])
def test_features_are_clustered_as_tightly_as_by_scikit_learn(unit_length, float64):
    features, labels = blobs()
    rows = features / np.linalg.norm(features, axis=1, keepdims=True) if unit_length else features
    clusters = cluster_features(features, 5, unit_length=unit_length)
    expected = KMeans(5, n_init=10, random_state=0).fit(rows)
    centroids = np.stack([rows[clusters == k].mean(axis=0) for k in range(5)])
    inertia = np.sum((rows - centroids[clusters]) ** 2)
    assert inertia <= expected.inertia_ * (1 + 1e-9)
    assert clustering(expected.labels_, clusters)["ari"] > 0.95
    assert clustering(labels, clusters)["nmi"] > 0.6


def test_the_length_of_a_row_matters_only_if_it_is_kept():
    features, _ = blobs()
    lengths = np.exp(np.random.default_rng(1).normal(size=(len(features), 1)))
    clusters = cluster_features(features, 5)
    stretched = cluster_features(features * lengths, 5)
    assert clustering(clusters, stretched)["ari"] > 0.99
    apart = cluster_features(features * lengths, 5, unit_length=False)
    assert clustering(clusters, apart)["ari"] < 0.9
    np.testing.assert_array_equal(cluster_features(features, 5), clusters)


def test_features_that_do_not_differ_make_no_error():
    clusters = cluster_features(np.ones((20, 4)), 3)
    assert clusters.shape == (20,)
    assert len(np.unique(clusters)) == 1
    assert clustering(np.arange(20) % 2, clusters)["nmi"] == 0
    assert np.all(cluster_features(np.zeros((20, 4)), 3) == clusters)


def test_more_clusters_than_clips_or_broken_features_are_refused():
    with pytest.raises(UsageError, match="3 clips cannot make 4 clusters"):
        cluster_features(np.eye(3), 4)
    with pytest.raises(AvsslError, match="not finite"):
        cluster_features(np.full((3, 2), np.inf), 2)
