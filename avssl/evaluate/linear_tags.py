"""The linear probe where a clip has one class or several, as on VOC 2007: one against the rest, mean AP."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from avssl.data.record import Source, tags_of
from avssl.errors import UsageError
from avssl.evaluate.checks import finite_features
from avssl.evaluate.features import probed
from avssl.evaluate.intervals import intervals_of
from avssl.evaluate.linear import STEPS_TO_CHOOSE, WEIGHT_DECAYS, Standardisation, stratified_split
from avssl.evaluate.logistic import PADDING, LogisticRegression, fit_logistic
from avssl.evaluate.ranked import (
    RankedClasses,
    Steps,
    Times,
    average_precision,
    average_precisions,
    mean_of_known,
    share,
)
from avssl.evaluate.sides import Score, Sides, scores_of
from avssl.train.model import Model

RECALLS = np.arange(11) / 10
# Of a recall that is a fraction, and of one written in decimals.
ROUNDING = 1e-9


def linear_tags(model: Model, sides: Sides) -> list[Score]:
    """`map` is the mean over classes of the area of `tagging`, `map_11_point` that of VOC 2007's own measure.

    Over the classes that some training clip and some test clip has. What a source ignores (VOC 2007: all
    objects of the class are difficult) is no clip of that class nor of the rest. Chance is what equal scores
    give.
    """
    assert sides.fitted is not None
    names, test_names = (part[0].label_names for part in (sides.fitted, sides.scored))
    train, train_known = told_tags(sides.fitted[0], sides.train.index)
    test, test_known = told_tags(sides.scored[0], sides.test.index)
    pairs = [
        (place, test_names.index(name))
        for place, name in enumerate(names)
        if name in test_names
        and has_both(train[:, place], train_known[:, place])
        and (test & test_known)[:, test_names.index(name)].any()
    ]
    if not pairs:
        raise UsageError(
            f"no class of {sides.fitted[0].spec} has clips with it and clips without it, and a clip in "
            f"{sides.scored[0].spec}"
        )
    ours, theirs = (list(places) for places in zip(*pairs, strict=True))
    labels = np.where(train_known, train, PADDING)[:, ours]
    test, test_known = test[:, theirs], test_known[:, theirs]
    fitted, scored = probed(sides.train), probed(sides.test)
    chance = MeanPrecisions(np.zeros(test.shape), test, test_known).of_clips()
    scores = []
    for features in fitted:
        found = one_against_rest(fitted[features], labels, scored[features])
        precisions = MeanPrecisions(found, test, test_known)
        values = precisions.of_clips()
        intervals = intervals_of(precisions, values, len(test), num_elements=test.size)
        scores += scores_of(features, "", values, chance, len(test), intervals)
    return scores


def told_tags(source: Source, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`tags_of` where any is known."""
    tags, known = tags_of(source, indices)
    if not known.any():
        raise UsageError(f"nobody said of which classes the clips of {source.spec} are")
    return tags, known


def has_both(tags: Bool[np.ndarray, "n"], known: Bool[np.ndarray, "n"]) -> bool:
    return len(np.unique(tags[known])) == 2


def one_against_rest(
    train_features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n c"],
    test_features: Float[np.ndarray, "m d"],
    *,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    validation_share: float = 0.2,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> Float[np.ndarray, "m c"]:
    """Logits of the test clips by a logistic regression for each class; labels are 1, 0, or -1: not known.

    The weight decay of each class is the one with the best average precision on a validation part of its
    training clips (stratified, drawn by `seed`; the stronger of equals), standardised by the rest of them, as
    `linear_probe` does by the top-1. Departure from Goyal et al. 2019 (arXiv 1905.01235), who take support
    vector machines and choose by three folds: that is recalled, not verified.
    """
    train_features = finite_features(train_features, "training features")
    test_features = finite_features(test_features, "test features")
    columns = []
    for own in labels.T:
        weight_decay, start = weight_decays[0], None
        if len(weight_decays) > 1:
            weight_decay, start = choose(train_features, own, weight_decays, validation_share, seed)
        standardise = Standardisation.of(train_features[own != PADDING])
        fitted = fit(
            standardise(train_features), own, weight_decay, start=start, tolerance=tolerance
        )
        columns.append(logits(fitted, standardise(test_features)))
    return np.stack(columns, axis=1)


def choose(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    weight_decays: Sequence[float],
    validation_share: float,
    seed: int,
) -> tuple[float, LogisticRegression]:
    known = np.flatnonzero(labels != PADDING)
    held_out = known[stratified_split(labels[known], validation_share, seed)[1]]
    # Masked and not taken out: one compiled program serves every class.
    rest = labels.copy()
    rest[held_out] = PADDING
    standardise = Standardisation.of(features[rest != PADDING])
    standardised = standardise(features)
    tried: list[tuple[float, float, LogisticRegression]] = []
    for weight_decay in sorted(weight_decays, reverse=True):
        start = tried[-1][2] if tried else None
        found = fit(standardised, rest, weight_decay, start=start, max_steps=STEPS_TO_CHOOSE)
        own = labels[held_out] == 1
        # One clip of a class is kept for fitting; without any held out there is nothing to choose by.
        precision = (
            average_precision(logits(found, standardised[held_out]), own) if own.any() else 0.0
        )
        tried.append((precision, weight_decay, found))
    _, weight_decay, found = max(tried, key=lambda one: one[0])
    return weight_decay, found


def fit(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    weight_decay: float,
    *,
    start: LogisticRegression | None = None,
    max_steps: int = 200,
    tolerance: float = 1e-4,
) -> LogisticRegression:
    return fit_logistic(
        features,
        labels,
        num_classes=2,
        weight_decay=weight_decay,
        max_steps=max_steps,
        start=start,
        tolerance=tolerance,
    )


def logits(fitted: LogisticRegression, features: Float[np.ndarray, "n d"]) -> np.ndarray:
    """Of the class against the rest."""
    weights = (fitted.weights[:, 1] - fitted.weights[:, 0]).astype(np.float64)
    return features.astype(np.float64) @ weights + float(fitted.bias[1] - fitted.bias[0])


class MeanPrecisions:
    """`map` and `map_11_point` of clips that count so many times; of each class those where it is known."""

    def __init__(
        self,
        scores: Float[np.ndarray, "m c"],
        tags: Bool[np.ndarray, "m c"],
        known: Bool[np.ndarray, "m c"],
    ):
        self.num_clips = len(tags)
        self.ranked = RankedClasses(scores, tags, known)

    def __call__(self, times: Times) -> dict[str, Float[np.ndarray, "r"]]:
        steps = self.ranked.steps(times)
        return {
            "map": mean_of_known(np.stack([average_precisions(one) for one in steps])),
            "map_11_point": mean_of_known(np.stack([eleven_points(one) for one in steps])),
        }

    def of_clips(self) -> dict[str, float]:
        """Each clip once."""
        found = self(np.ones((self.num_clips, 1)))
        return {metric: float(value) for metric, [value] in found.items()}


def eleven_points(steps: Steps) -> Float[np.ndarray, "r"]:
    """Mean over the recalls 0, 0.1, ..., 1 of the best precision at that recall or more.

    Everingham et al. 2010. As the development kit of VOC 2007 computes it (VOCevalcls.m, recalled), but for
    clips with equal scores, which are one step here.
    """
    found = np.cumsum(steps.right, axis=0)
    precision = share(found, found + steps.upto)
    recall = share(found, np.broadcast_to(found[-1:], found.shape))
    reached = [np.where(recall >= wanted - ROUNDING, precision, 0.0) for wanted in RECALLS]
    best = np.stack([one.max(axis=0) for one in reached]).mean(axis=0)
    return np.where(found[-1] > 0, best, np.nan)
