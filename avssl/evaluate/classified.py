"""Classification: how often an objective's own classifier is right."""

import numpy as np

from avssl.errors import UsageError
from avssl.evaluate.sides import Score, Sides, classes_by_name
from avssl.train.model import Model


def classified(model: Model, sides: Sides) -> list[Score]:
    """`top1` of the classifiers that were trained on the labels of the run's data, by what they look at,
    on the test clips that have it.

    With several objectives the first of each kind of features gives `top1`, the others `NAME/top1`.
    """
    names = sides.scored[0].label_names, sides.classes
    labels = classes_by_name(sides.scored[0].labels(), *names)
    chance = 1 / max(len(names[1]), 1)
    scores: list[Score] = []
    for name in model.objectives:
        for features, (index, logits) in sides.said(model, name, "label_logits").items():
            known = labels[index] >= 0
            first = all(score.features != features for score in scores)
            right = (np.argmax(logits, axis=-1) == labels[index])[known]
            metric = "top1" if first else f"{name}/top1"
            scores.append(Score.of_clips(features, metric, right, chance))
    if not scores:
        raise UsageError("no objective of this run classifies by the labels, as supervised does")
    return scores
