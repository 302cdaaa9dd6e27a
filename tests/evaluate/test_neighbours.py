"""Retrieval within a modality: by hand, against chance, and of clips that are the same."""

import numpy as np
import pytest

from avssl.errors import AvsslError
from avssl.evaluate.neighbours import neighbour_of_class, recall_by_chance


def recall(features, labels):
    return {rank: found.mean() for rank, found in neighbour_of_class(features, labels).items()}


def test_by_hand():
    angles = np.radians([0, 1, 3, 90, 91.5, 94])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.array([0, 1, 0, 1, 1, 2])
    # 0 -> 1; 1 -> 0; 2 -> 1; 3 -> 4; 4 -> 3; 5 -> 4, and nobody else is of its class.
    found = recall(features, labels)
    assert found[1] == pytest.approx(2 / 6)
    # Five others are all there are: a class of two or more is always found.
    assert found[5] == found[10] == pytest.approx(5 / 6)


def test_a_clip_is_no_neighbour_of_itself_among_equals():
    features = np.ones((12, 3))
    labels = np.array([0, 1] * 6)
    found = recall(features, labels)
    # The first of equals come first: ten others, with five of either class.
    assert found[10] == 1.0
    assert found[1] == pytest.approx(0.5 - 1 / 12)


def test_chance_is_what_random_features_give():
    random = np.random.default_rng(0)
    labels = random.integers(5, size=400)
    found = recall(random.normal(size=(400, 16)), labels)
    expected = recall_by_chance(labels)
    assert expected[1] == pytest.approx(0.2, abs=0.02)
    for rank, value in found.items():
        assert value == pytest.approx(expected[rank], abs=0.06)


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(AvsslError, match="test features"):
        neighbour_of_class(np.full((4, 2), np.nan), np.array([0, 1, 0, 1]))
