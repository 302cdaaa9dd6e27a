"""The linear probe: logistic regression on frozen, standardised features."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from avssl.errors import UsageError
from avssl.evaluate.checks import finite_features, labelled, several_classes
from avssl.evaluate.logistic import LogisticRegression, fit_logistic

# From strong to weak, on the mean cross-entropy of standardised features.
WEIGHT_DECAYS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# Enough to judge a weight decay by: they start from the solution of the stronger one before it.
STEPS_TO_CHOOSE = 25


@dataclasses.dataclass(frozen=True)
class Standardisation:
    mean: Float[np.ndarray, "d"]
    deviation: Float[np.ndarray, "d"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "n d"]) -> "Standardisation":
        mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0, dtype=np.float64)
        # A feature that varies by nothing but rounding must not be blown up to unit variance.
        constant = deviation <= 1e-6 * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, deviation))

    def __call__(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        return ((features - self.mean) / self.deviation).astype(features.dtype)


@dataclasses.dataclass(frozen=True)
class LinearProbe:
    """`validation` pairs each weight decay that was tried with its top-1 on the validation part.

    `predictions` are the classes given to the test clips.
    """

    top1: float
    weight_decay: float
    validation: tuple[tuple[float, float], ...]
    predictions: Int[np.ndarray, "m"]
    regression: LogisticRegression


def linear_probe(
    train_features: Float[np.ndarray, "n d"],
    train_labels: Int[np.ndarray, "n"],
    test_features: Float[np.ndarray, "m d"],
    test_labels: Int[np.ndarray, "m"],
    *,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    validation_share: float = 0.2,
    seed: int = 0,
    tolerance: float = 1e-4,
    max_steps: int = 200,
) -> LinearProbe:
    """Top-1 of a logistic regression fitted to the training features, on the test features.

    The weight decay is the one with the best top-1 on a validation part of the training clips
    (stratified, drawn by `seed`; the stronger of equals), with features standardised by the rest
    of the training clips. Then all training clips are standardised and fitted. The test clips take
    part in nothing of that. The classes are those of the training clips: a test clip of any other
    counts as wrong. One weight decay alone is taken without validation. `fit_logistic` says what
    is minimised.
    """
    train_features = finite_features(train_features, "training features")
    test_features = finite_features(test_features, "test features")
    train_labels = labelled(train_features, train_labels, protocol="linear probe", part="training")
    test_labels = labelled(test_features, test_labels, protocol="linear probe", part="test")
    several_classes(train_labels, protocol="linear probe")
    classes, train_classes = np.unique(train_labels, return_inverse=True)

    validation, start = (), None
    weight_decay = float(weight_decays[0])
    if len(weight_decays) > 1:
        fit_rows, validation_rows = stratified_split(train_classes, validation_share, seed)
        weight_decay, validation, start = choose_weight_decay(
            train_features[fit_rows],
            train_classes[fit_rows],
            train_features[validation_rows],
            train_classes[validation_rows],
            sorted(weight_decays, reverse=True),
            tolerance,
        )
    standardise = Standardisation.of(train_features)
    regression = fit_logistic(
        standardise(train_features),
        train_classes,
        num_classes=len(classes),
        weight_decay=weight_decay,
        tolerance=tolerance,
        max_steps=max_steps,
        start=start,
    )
    predictions = classes[regression.predict(standardise(test_features))]
    top1 = float((predictions == test_labels).mean())
    return LinearProbe(top1, weight_decay, validation, predictions, regression)


def choose_weight_decay(
    fit_features: Float[np.ndarray, "n d"],
    fit_classes: Int[np.ndarray, "n"],
    validation_features: Float[np.ndarray, "m d"],
    validation_classes: Int[np.ndarray, "m"],
    weight_decays: Sequence[float],
    tolerance: float,
) -> tuple[float, tuple[tuple[float, float], ...], LogisticRegression]:
    """From strong to weak, each from the solution before it, until two in a row are below the best.

    The weak ones take the most steps, and past the best they only fit the training clips closer.
    """
    standardise = Standardisation.of(fit_features)
    fit_features = standardise(fit_features)
    validation_features = standardise(validation_features)
    num_classes = int(fit_classes.max()) + 1
    regressions, top1s = [], []
    for weight_decay in weight_decays:
        regression = fit_logistic(
            fit_features,
            fit_classes,
            num_classes=num_classes,
            weight_decay=float(weight_decay),
            tolerance=tolerance,
            max_steps=STEPS_TO_CHOOSE,
            start=regressions[-1] if regressions else None,
        )
        regressions.append(regression)
        predictions = regression.predict(validation_features)
        top1s.append(float((predictions == validation_classes).mean()))
        if len(top1s) > 2 and max(top1s[-2:]) < max(top1s):
            break
    best = int(np.argmax(top1s))
    tried = tuple(zip(map(float, weight_decays), top1s, strict=False))
    return float(weight_decays[best]), tried, regressions[best]


def stratified_split(
    labels: Int[np.ndarray, "n"], share: float, seed: int
) -> tuple[Int[np.ndarray, "kept"], Int[np.ndarray, "held_out"]]:
    """Rows kept and rows held out: `share` of each class, at least one and not all of it.

    A class of one clip is kept.
    """
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held_out[rows[:count]] = True
    if not held_out.any():
        raise UsageError(
            "the linear probe chooses its weight decay on held-out training clips, "
            "so at least one class needs two clips"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
