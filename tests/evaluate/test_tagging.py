"""Tags: against scikit-learn and SciPy, F1 by counting, and which columns are which classes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from avssl.data.record import Record
from avssl.errors import UsageError
from avssl.evaluate.sides import Sides
from avssl.evaluate.tagging import TagScores, tag_scores, tagging

NAMES = ("bus", "car", "dog", "train")
TAGS = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], bool)

EVERY = np.ones(len(TAGS), bool)
HEARS: dict[str, Any] = {
    "reads": [SimpleNamespace(view="sound")],
    "views": {"sound": SimpleNamespace(modality="audio")},
}


class Clips:
    spec = "clips"
    label_names = NAMES

    def key(self, index):
        return f"clip{index}"

    def labels(self):
        return np.full(len(TAGS), -1, np.int32)

    def __getitem__(self, index):
        names = [name for name, has in zip(NAMES, TAGS[index], strict=True) if has]
        return Record(self.key(index), index, b"", truth={"classes": names})


def measured(logits, trained_names, there=EVERY, known_classes=None):
    objective = SimpleNamespace(
        tag_logits=lambda outputs: outputs, can_say=lambda batch, who: batch["present"]["sound"]
    )
    silent = SimpleNamespace(tag_logits=lambda outputs: {})
    test: Any = SimpleNamespace(
        index=np.arange(len(TAGS)), of=lambda name: {"audio": logits}, present={"audio": there}
    )
    trained_on: Any = SimpleNamespace(label_names=trained_names), None
    scored: Any = Clips(), np.arange(len(TAGS))
    sides = Sides({}, test, test, scored, trained_on, 0, known_classes=known_classes)
    model: Any = SimpleNamespace(
        objectives={"none": silent, "one": objective, "two": objective}, **HEARS
    )
    return {score.metric: score for score in tagging(model, sides)}


def random_tags(num_values: int):
    """With few values most clips tie; one class is that of every clip."""
    rng = np.random.default_rng(num_values)
    tags = rng.random((120, 6)) < np.array([0.02, 0.1, 0.3, 0.5, 0.9, 1.1])
    tags[0] = True
    scores = rng.normal(size=tags.shape) + tags
    return (np.round(scores * num_values) / num_values), tags


@pytest.mark.parametrize("num_values", [1, 10**6])
def test_as_scikit_learn_and_scipy(num_values):
    logits, tags = random_tags(num_values)
    found = tag_scores(logits, tags)
    assert found["map"] == pytest.approx(average_precision_score(tags, logits), abs=1e-12)
    area = roc_auc_score(tags[:, :5], logits[:, :5], average="macro")
    assert found["roc_auc"] == pytest.approx(area, abs=1e-12)
    assert found["d_prime"] == pytest.approx(np.sqrt(2) * norm.ppf(area), abs=1e-9)
    said = logits >= 0
    for kind in ("micro", "macro"):
        expected = f1_score(tags, said, average=kind)
        assert found[f"{kind}_f1_at_0.5"] == pytest.approx(expected, abs=1e-12)


def test_clips_that_count_several_times_are_as_scikit_learn_weights_them():
    logits, tags = random_tags(3)
    times = np.random.default_rng(0).integers(0, 3, (len(tags), 4))
    times[tags[:, 0], 1] = 0  # without any clip of the first class
    found = TagScores(logits, tags, np.ones_like(tags))(times)
    for column, weights in enumerate(times.T):
        classes = [place for place in range(6) if (weights * tags[:, place]).any()]
        assert (0 in classes) == (column != 1)
        expected = [
            average_precision_score(tags[:, one], logits[:, one], sample_weight=weights)
            for one in classes
        ]
        assert found["map"][column] == pytest.approx(np.mean(expected), abs=1e-12)
        expected = [
            roc_auc_score(tags[:, one], logits[:, one], sample_weight=weights)
            for one in classes
            if one != 5
        ]
        assert found["roc_auc"][column] == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_clip_counts_for_the_classes_that_are_known():
    logits, tags = random_tags(3)
    known = np.random.default_rng(1).random(tags.shape) < 0.7
    found = tag_scores(logits, tags, known)
    columns = [(tags[rows, one], logits[rows, one]) for one, rows in enumerate(known.T)]
    expected = np.mean([average_precision_score(*column) for column in columns])
    assert found["map"] == pytest.approx(expected, abs=1e-12)
    area = np.mean([roc_auc_score(*column) for column in columns[:5]])
    assert found["roc_auc"] == pytest.approx(area, abs=1e-12)
    expected = np.mean([f1_score(own, said >= 0) for own, said in columns])
    assert found["macro_f1_at_0.5"] == pytest.approx(expected, abs=1e-12)
    expected = f1_score(tags[known], logits[known] >= 0)
    assert found["micro_f1_at_0.5"] == pytest.approx(expected, abs=1e-12)
    flipped = tag_scores(np.where(known, logits, -logits), np.where(known, tags, ~tags), known)
    assert flipped == found


def test_without_any_order_scores_are_at_chance():
    _, tags = random_tags(1)
    found = tag_scores(np.zeros(tags.shape), tags)
    assert found["map"] == pytest.approx(tags.mean())
    assert found["roc_auc"] == 0.5
    assert found["d_prime"] == 0.0


def test_d_prime_is_finite_and_largest_without_a_mistake():
    tags = TAGS[:, [0, 1, 3]]
    perfect = tag_scores(np.where(tags, 1.0, -1.0), tags)
    tied = np.where(tags, 1.0, -1.0)
    # The least mistake: of the class with most pairs, one ties.
    tied[np.flatnonzero(tags[:, 1])[0], 1] = tied[np.flatnonzero(~tags[:, 1])[0], 1] = 0.0
    nearly = tag_scores(tied, tags)
    assert perfect["roc_auc"] == 1.0
    assert nearly["roc_auc"] < 1.0
    assert np.isfinite(perfect["d_prime"])
    assert perfect["d_prime"] > nearly["d_prime"]
    assert nearly["d_prime"] == pytest.approx(np.sqrt(2) * norm.ppf(nearly["roc_auc"]))
    wrong = tag_scores(np.where(tags, -1.0, 1.0), tags)
    assert wrong["roc_auc"] == 0.0
    assert wrong["d_prime"] == pytest.approx(-perfect["d_prime"])


def test_classes_that_every_clip_has_have_no_area():
    found = tag_scores(np.zeros((4, 2)), np.ones((4, 2), bool))
    assert list(found) == ["map", "micro_f1_at_0.5", "macro_f1_at_0.5"]


def test_f1_by_counting():
    logits = np.where(TAGS, 1.0, -1.0)[:, [0, 1, 3]]
    logits[0, 0], logits[1, 1] = -1.0, 0.0  # one is missed, and one of exactly 0.5 is wrong
    found = tag_scores(logits, TAGS[:, [0, 1, 3]])
    assert found["micro_f1_at_0.5"] == pytest.approx(2 * 6 / (2 * 6 + 2))
    assert found["macro_f1_at_0.5"] == pytest.approx(np.mean([2 / 3, 4 / 5, 1.0]))


def test_columns_are_the_classes_that_were_trained_on():
    # Another order, without `bus`, and with a class that no clip here has.
    logits = np.where(TAGS[:, [3, 1, 2, 2]], 2.0, -2.0)
    found = measured(logits, ("train", "car", "dog", "cat"))
    assert found["map"].value == 1.0
    assert found["micro_f1_at_0.5"].value == 1.0
    assert found["map"].chance == pytest.approx(np.mean([2 / 5, 3 / 5]))
    # Every tag on every clip: 5 of 10 are right.
    assert found["micro_f1_at_0.5"].chance == pytest.approx(2 * 5 / 15)
    assert found["two/map"].value == 1.0
    assert found["roc_auc"].chance == 0.5
    assert found["d_prime"].chance == 0.0
    assert found["d_prime"].value > 2.0
    for score in found.values():
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]
    assert all(score.n == len(TAGS) for score in found.values())


def test_columns_are_those_that_the_checkpoint_names_whatever_data_stand_for_the_training():
    logits = np.where(TAGS[:, [3, 1, 2, 2]], 2.0, -2.0)
    found = measured(logits, NAMES, known_classes=["train", "car", "dog", "cat"])
    assert found["map"].value == 1.0


def test_a_class_that_is_ignored_in_a_clip_is_neither_right_nor_wrong(monkeypatch):
    hidden = {1: ["car"], 4: ["bus", "car"]}
    monkeypatch.setattr(Clips, "ignored", lambda self, index: hidden.get(index, ()), raising=False)
    logits = np.where(TAGS, 1.0, -1.0)
    for row, names in hidden.items():
        logits[row, [NAMES.index(name) for name in names]] = 5.0
    found = measured(logits, NAMES)
    for metric in ("map", "roc_auc", "micro_f1_at_0.5", "macro_f1_at_0.5"):
        assert found[metric].value == 1.0
    # Of buses 2 of 4, of cars 2 of 3, of trains 3 of 5.
    assert found["map"].chance == pytest.approx(np.mean([2 / 4, 2 / 3, 3 / 5]))


def test_clips_without_what_an_objective_looks_at_are_no_part():
    logits = np.where(TAGS, 1.0, -1.0)
    logits[2] *= -1
    found = measured(logits, NAMES, there=np.arange(len(TAGS)) != 2)
    assert {score.n for score in found.values()} == {len(TAGS) - 1}
    assert found["map"].value == found["micro_f1_at_0.5"].value == 1.0


def test_what_cannot_be_scored():
    with pytest.raises(UsageError, match="has a class that this run was trained on"):
        measured(np.zeros((5, 1)), ("cat",))
    silent = SimpleNamespace(tag_logits=lambda outputs: {})
    model: Any = SimpleNamespace(objectives={"none": silent}, **HEARS)
    nothing: Any = SimpleNamespace(of=lambda name: {}, present={"audio": np.zeros(0, bool)})
    sides = Sides({}, nothing, nothing, nothing, nothing, 0)
    with pytest.raises(UsageError, match="no objective of this run tags clips"):
        tagging(model, sides)
