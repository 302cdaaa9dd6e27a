import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from avssl.errors import AvsslError, UsageError
from avssl.evaluate import linear
from avssl.evaluate.linear import Standardisation, linear_probe, stratified_split


def clips(num_train=240, num_test=160, size=8, num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_classes, size))
    labels = rng.integers(0, num_classes, num_train + num_test)
    features = centres[labels] + 1.5 * rng.normal(size=(len(labels), size))
    # Unequal offsets and scales: a probe that does not standardise fits something else.
    features = 5 + features * np.geomspace(0.01, 10, size)
    return features[:num_train], labels[:num_train], features[num_train:], labels[num_train:]


def test_equals_scikit_learn_at_a_fixed_weight_decay(float64):
    train, train_labels, test, test_labels = clips()
    probe = linear_probe(
        train,
        train_labels,
        test,
        test_labels,
        weight_decays=[1e-2],
        tolerance=1e-10,
        max_steps=2000,
    )
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / (240 * 1e-2), tol=1e-12, max_iter=10_000)
    ).fit(train, train_labels)
    np.testing.assert_allclose(probe.regression.weights.T, reference[-1].coef_, atol=1e-6)
    np.testing.assert_array_equal(probe.predictions, reference.predict(test))
    assert probe.top1 == reference.score(test, test_labels)
    assert 0.4 < probe.top1 < 0.95
    assert probe.validation == ()


def test_weight_decay_is_the_best_on_the_validation_part():
    train, train_labels, test, test_labels = clips()
    probe = linear_probe(train, train_labels, test, test_labels)
    tried = dict(probe.validation)
    assert tried[probe.weight_decay] == max(tried.values())
    assert all(
        top1 < max(tried.values()) for decay, top1 in tried.items() if decay > probe.weight_decay
    )
    assert len(set(tried.values())) > 1


def test_the_path_ends_after_two_worse_ones(monkeypatch):
    train, train_labels, *_ = clips()
    answers = iter([0.5, 0.9, 0.9, 0.6, 0.7, 1.0])

    class Scripted:
        def predict(self, features):
            right = round(next(answers) * len(features))
            return np.where(np.arange(len(features)) < right, validation_labels, -1)

    validation_labels = train_labels[stratified_split(train_labels, 0.2, 0)[1]]
    validation_labels = np.unique(validation_labels, return_inverse=True)[1]
    monkeypatch.setattr(linear, "fit_logistic", lambda *args, **kwargs: Scripted())
    decay, tried, _ = linear.choose_weight_decay(
        train, train_labels, train[: len(validation_labels)], validation_labels, [5, 4, 3, 2, 1], 0
    )
    assert decay == 4
    assert [decay for decay, _ in tried] == [5, 4, 3, 2, 1]
    answers = iter([0.5, 0.9, 0.6, 0.7, 1.0])
    decay, tried, _ = linear.choose_weight_decay(
        train, train_labels, train[: len(validation_labels)], validation_labels, [5, 4, 3, 2, 1], 0
    )
    assert decay == 4
    assert [decay for decay, _ in tried] == [5, 4, 3, 2]


def test_nothing_of_the_test_clips_is_seen():
    train, train_labels, test, test_labels = clips()
    alone = linear_probe(train, train_labels, test, test_labels)
    planted = np.concatenate([test, 1e6 * test, train[:50]])
    planted_labels = np.concatenate([test_labels, test_labels, train_labels[:50]])
    beside = linear_probe(train, train_labels, planted, planted_labels)
    np.testing.assert_array_equal(alone.regression.weights, beside.regression.weights)
    np.testing.assert_array_equal(alone.predictions, beside.predictions[: len(test)])
    assert alone.validation == beside.validation


def test_validation_clips_take_no_part_in_their_normalisation(monkeypatch):
    train, train_labels, test, test_labels = clips()
    seen = []
    of = Standardisation.of.__func__
    monkeypatch.setattr(
        Standardisation,
        "of",
        classmethod(lambda cls, features: seen.append(len(features)) or of(cls, features)),
    )
    linear_probe(train, train_labels, test, test_labels)
    kept, held_out = stratified_split(train_labels, 0.2, 0)
    assert seen == [len(kept), len(train)]
    assert len(kept) + len(held_out) == len(train)


def test_labels_need_not_be_dense_and_unseen_ones_are_wrong():
    train, train_labels, test, test_labels = clips()
    dense = linear_probe(train, train_labels, test, test_labels)
    sparse = linear_probe(train, 10 * train_labels + 3, test, 10 * test_labels + 3)
    assert sparse.top1 == dense.top1
    np.testing.assert_array_equal(sparse.predictions, 10 * dense.predictions + 3)
    assert linear_probe(train, train_labels, test, np.full(len(test), 77)).top1 == 0


def test_constant_features_do_no_harm():
    train, train_labels, test, test_labels = clips()
    # The first varies by its last bit, as what an encoder gives to equal inputs may.
    rng = np.random.default_rng(0)
    train[:, 0], test[:, 0] = (100 + 7.7e-6 * rng.integers(0, 2, len(x)) for x in (train, test))
    train[:, 1] = test[:, 1] = 0
    probe = linear_probe(train, train_labels, test, test_labels)
    np.testing.assert_allclose(probe.regression.weights[:2], 0, atol=1e-5)
    assert np.abs(probe.regression.weights[2:]).min() > 1e-4
    standardised = Standardisation.of(train)(train)
    np.testing.assert_allclose(standardised[:, :2], 0, atol=1e-5)
    np.testing.assert_allclose(standardised[:, 2:].std(axis=0), 1, rtol=1e-3)


def test_split_is_stratified_and_follows_the_seed():
    labels = np.repeat([0, 1, 2, 3], [40, 10, 2, 1])
    kept, held_out = stratified_split(labels, 0.2, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(53))
    np.testing.assert_array_equal(np.bincount(labels[held_out], minlength=4), [8, 2, 1, 0])
    np.testing.assert_array_equal(stratified_split(labels, 0.2, 0)[1], held_out)
    assert not np.array_equal(stratified_split(labels, 0.2, 1)[1], held_out)


def test_bad_input_is_one_sentence():
    train, train_labels, test, test_labels = clips(num_train=20, num_test=6)
    with pytest.raises(
        UsageError, match=r"linear probe needs labels of at least two classes; the 20"
    ):
        linear_probe(train, np.full(20, 2), test, test_labels)
    with pytest.raises(
        UsageError, match=r"linear probe needs labelled training clips; there are none"
    ):
        linear_probe(train[:0], train_labels[:0], test, test_labels)
    with pytest.raises(UsageError, match=r"label for every training clip; 20 of the 20 have none"):
        linear_probe(train, np.full(20, -1), test, test_labels)
    with pytest.raises(UsageError, match=r"at least one class needs two clips"):
        linear_probe(train, np.arange(20), test, test_labels)
    test[4] = np.inf
    with pytest.raises(AvsslError, match=r"1 of the 6 rows of the test features .* row 4"):
        linear_probe(train, train_labels, test, test_labels)
