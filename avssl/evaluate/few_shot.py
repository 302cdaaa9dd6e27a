"""Few-shot probes: how much of the classes shows in features when a class has a handful of labelled clips."""

import numpy as np
from jaxtyping import Float, Int

from avssl.evaluate.checks import finite_features, labelled, several_classes
from avssl.evaluate.linear import linear_probe

SHOTS = (1, 5, 10)
NUM_DRAWS = 10
# On the mean cross-entropy of standardised features: so few clips leave none to choose it on.
WEIGHT_DECAY = 1e-2


def few_shot_hits(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Int[np.ndarray, "n"],
    test_features: Float[np.ndarray, "m d"],
    test_labels: Int[np.ndarray, "m"],
    *,
    shots: int,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> Float[np.ndarray, "m"]:
    """How often each test clip is named rightly by linear probes fitted to `shots` clips of each class.

    A share of `num_draws` draws of those clips: the mean over test clips is the mean top-1.

    The clips of a draw depend on the labels and the seed alone, so two encoders get the same ones. A class
    with fewer clips gives all it has. A test clip of a class without training clips counts as wrong.
    """
    train_features = finite_features(train_features, "training features")
    train_labels = labelled(
        train_features, train_labels, protocol="few-shot probe", part="training"
    )
    several_classes(train_labels, protocol="few-shot probe")
    hits = []
    for draw in range(num_draws):
        rows = drawn_rows(train_labels, shots, np.random.default_rng([seed, shots, draw]))
        probe = linear_probe(
            train_features[rows], train_labels[rows], test_features, test_labels,
            weight_decays=(WEIGHT_DECAY,),
        )  # fmt: skip
        hits.append(probe.predictions == test_labels)
    return np.mean(hits, axis=0)


def drawn_rows(
    labels: Int[np.ndarray, "n"], shots: int, generator: np.random.Generator
) -> Int[np.ndarray, "k"]:
    """Rows of so many clips of each class."""
    drawn = [
        generator.permutation(np.flatnonzero(labels == label))[:shots]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(drawn))
