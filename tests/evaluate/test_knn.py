import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from avssl.errors import AvsslError, UsageError
from avssl.evaluate import knn
from avssl.evaluate.knn import knn_hits, nearest, nearest_of_block, vote


def noisy_classes(num_train=300, num_test=200, size=12, num_classes=7, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_classes, size))
    labels = rng.integers(0, num_classes, num_train + num_test)
    features = centres[labels] + 1.5 * rng.normal(size=(len(labels), size))
    return features[:num_train], labels[:num_train], features[num_train:], labels[num_train:]


@pytest.mark.parametrize("neighbours", [1, 5, 20])
@pytest.mark.parametrize("temperature", [0.07, None])
def test_equals_scikit_learn(neighbours, temperature, float64):
    train, train_labels, test, test_labels = noisy_classes()
    weights = "uniform"
    if temperature is not None:

        def weights(distance):
            return np.exp((1 - distance) / temperature)

    reference = KNeighborsClassifier(neighbours, metric="cosine", weights=weights)
    expected = reference.fit(train, train_labels).score(test, test_labels)
    hits = knn_hits(
        train, train_labels, test, test_labels, neighbours=neighbours, temperature=temperature
    )
    assert 0.3 < expected < 0.9
    assert hits.mean() == pytest.approx(expected, abs=1e-12)


def test_neighbours_equal_a_full_sort_over_many_blocks(monkeypatch):
    monkeypatch.setattr(knn, "TRAIN_BLOCK", 64)
    monkeypatch.setattr(knn, "TEST_BLOCK", 32)
    train, _, test, _ = (x.astype(np.float32) for x in noisy_classes())
    cosines, indices = nearest(train, test, 9)
    full = knn.unit_rows(test) @ knn.unit_rows(train).T
    np.testing.assert_array_equal(indices, np.argsort(-full, axis=1, kind="stable")[:, :9])
    np.testing.assert_allclose(cosines, -np.sort(-full, axis=1)[:, :9], atol=1e-6)


@pytest.mark.parametrize("train_block", [16, 4096])
@pytest.mark.parametrize(("num_train", "size"), [(131, 33), (333, 512)])
def test_equal_neighbours_come_in_training_order(train_block, num_train, size, monkeypatch):
    """Bit-equal scores of equal rows: with blocks of any size the last bit was seen to differ."""
    monkeypatch.setattr(knn, "TRAIN_BLOCK", train_block)
    for same, other in np.random.default_rng(0).normal(size=(20, 2, size)).astype(np.float32):
        _, indices = nearest(np.tile(same, (num_train, 1)), other[None], 20)
        np.testing.assert_array_equal(indices, [np.arange(20)])


def test_the_smallest_of_tied_classes_wins():
    labels = np.array([[7, 3, 3, 7], [9, 2, 9, 5]])
    np.testing.assert_array_equal(vote(labels, np.ones(labels.shape)), [3, 9])


def test_a_near_neighbour_outvotes_two_far_ones_only_by_weight():
    train = np.array([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]])
    labels = np.array([1, 0, 0])
    test, test_labels = np.array([[1.0, 0.0]]), np.array([1])
    assert knn_hits(train, labels, test, test_labels, neighbours=3).all()
    assert not knn_hits(train, labels, test, test_labels, neighbours=3, temperature=None).any()


def test_all_training_clips_vote_when_there_are_few():
    train, train_labels, test, test_labels = noisy_classes(num_train=10)
    few = knn_hits(train, train_labels, test, test_labels, neighbours=10)
    more = knn_hits(train, train_labels, test, test_labels, neighbours=20)
    np.testing.assert_array_equal(more, few)


def test_an_unseen_class_counts_as_wrong():
    train, train_labels, test, test_labels = noisy_classes()
    seen = knn_hits(train, train_labels, test, test_labels)
    with_unseen = knn_hits(
        train,
        train_labels,
        np.concatenate([test, test]),
        np.concatenate([test_labels, np.full(len(test), 99)]),
    )
    np.testing.assert_array_equal(with_unseen, np.concatenate([seen, np.zeros_like(seen)]))


def test_memory_for_fifty_thousand_clips_stays_small():
    blocks = jax.ShapeDtypeStruct((13, knn.TRAIN_BLOCK, 512), jnp.float32)
    test = jax.ShapeDtypeStruct((knn.TEST_BLOCK, 512), jnp.float32)
    compiled = nearest_of_block.lower(blocks, test, 50_000, neighbours=20).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 200e6


def test_bad_input_is_one_sentence():
    train, train_labels, test, test_labels = noisy_classes(num_train=20, num_test=5)
    with pytest.raises(
        UsageError, match=r"kNN needs labels of at least two classes; the 20 .* one"
    ):
        knn_hits(train, np.zeros(20, int), test, test_labels)
    with pytest.raises(UsageError, match=r"a label for every test clip; 5 of the 5 have none"):
        knn_hits(train, train_labels, test, np.full(5, -1))
    with pytest.raises(UsageError, match=r"kNN needs labelled test clips; there are none"):
        knn_hits(train, train_labels, test[:0], test_labels[:0])
    train[3, 2] = np.nan
    with pytest.raises(AvsslError, match=r"1 of the 20 rows of the training features .* row 3"):
        knn_hits(train, train_labels, test, test_labels)
