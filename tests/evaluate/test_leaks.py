"""Nothing of the test part is seen in fitting, choosing a regulariser or normalising: planted leaks are caught.

What a probe says of a test clip is a function of the training part and of that clip's features: other test
clips may be replaced by anything, and no label of the test part may change it.
"""

from functools import partial

import numpy as np
import pytest

from avssl.evaluate import linear
from avssl.evaluate.few_shot import few_shot_hits
from avssl.evaluate.knn import knn_hits
from avssl.evaluate.linear import WEIGHT_DECAYS, Standardisation, linear_probe
from avssl.evaluate.protocols import PROBES, linear_hits

NUM_CLASSES, SIZE = 3, 6
# Every protocol that fits something to the training part.
FITTED = {
    "few_shot": partial(few_shot_hits, shots=3, num_draws=2),
    "knn": partial(knn_hits, neighbours=5),
    "linear": linear_hits,
}
# Those that need labels and fit nothing to them: k-means and neighbours of the test clips among each other, and
# what an objective learnt in training.
UNFITTED = {"classification", "clustering", "neighbours"}


def clips(seed, number=45):
    """Overlapping classes, so that much may go either way; the features differ in their scales."""
    draws = np.random.default_rng(seed)
    labels = np.arange(number) % NUM_CLASSES
    features = np.eye(NUM_CLASSES, SIZE)[labels] + draws.normal(0, 0.8, (number, SIZE))
    return (features * np.geomspace(0.1, 10, SIZE)).astype(np.float32), labels


TRAIN, TRAIN_LABELS = clips(0)
TEST, TEST_LABELS = clips(1, 30)
OTHERS = np.arange(len(TEST)) >= 20
# Far off, in a direction of their own, and of one class: they move every mean, scale and choice.
POISON = np.where(OTHERS[:, None], 40 * TEST[::-1] + 300, TEST).astype(np.float32)
POISON_LABELS = np.where(OTHERS, 0, TEST_LABELS)


def said(hits, test):
    """[classes, clips]: how often each test clip is given each class, as right or wrong answers show it."""
    every = [
        hits(TRAIN, TRAIN_LABELS, test, np.full(len(test), label)) for label in range(NUM_CLASSES)
    ]
    return np.stack(every).astype(float)


def leaks(hits) -> list[str]:
    """What of the test part a probe looked at."""
    found, answers = [], said(hits, TEST)
    as_labelled = np.asarray(hits(TRAIN, TRAIN_LABELS, TEST, TEST_LABELS), float)
    if not np.allclose(answers.sum(axis=0), 1) or not np.allclose(
        as_labelled, answers[TEST_LABELS, np.arange(len(TEST))]
    ):
        found.append("labels")
    beside = np.asarray(hits(TRAIN, TRAIN_LABELS, POISON, POISON_LABELS), float)
    if not np.allclose(beside[~OTHERS], as_labelled[~OTHERS]):
        found.append("other clips")
    return found


@pytest.mark.parametrize("name", FITTED)
def test_no_probe_looks_at_the_test_part(name):
    assert leaks(FITTED[name]) == []


def test_every_protocol_on_labels_was_thought_of():
    assert FITTED.keys() | UNFITTED == set(PROBES)
    assert not FITTED.keys() & UNFITTED


def bank_with_test_clips(train, train_labels, test, test_labels):
    bank, labels = np.concatenate([train, test]), np.concatenate([train_labels, test_labels])
    return knn_hits(bank, labels, test, test_labels, neighbours=5)


def weight_decay_of_the_best_test_score(train, train_labels, test, test_labels):
    tried = [
        linear_probe(train, train_labels, test, test_labels, weight_decays=(decay,))
        for decay in (10.0, *WEIGHT_DECAYS)
    ]
    best = max(tried, key=lambda probe: probe.top1)
    return best.predictions == test_labels


def normalised_with_test_clips(train, train_labels, test, test_labels):
    of = Standardisation.of.__func__

    class Leaky(Standardisation):
        @classmethod
        def of(cls, features):
            return of(Standardisation, np.concatenate([features, test]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "Standardisation", Leaky)
        return linear_hits(train, train_labels, test, test_labels)


@pytest.mark.parametrize(
    ("leaky", "what"),
    [
        (bank_with_test_clips, "labels"),
        (weight_decay_of_the_best_test_score, "labels"),
        (normalised_with_test_clips, "other clips"),
    ],
)
def test_a_planted_leak_is_caught(leaky, what):
    assert what in leaks(leaky)
