"""Identity: error rates of frozen features on listed pairs, or on pairs drawn from labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from avssl.data.record import Record
from avssl.errors import UsageError
from avssl.evaluate.error_rates import equal_error_rate
from avssl.evaluate.identity import identity
from avssl.evaluate.trials import draw_trials

LABELS = np.append(np.repeat(np.arange(6), 5), -1)
CLIPS = len(LABELS)


class Persons:
    """A source that may list pairs: of a record's key, [key of the other, whether it is the same]."""

    spec = "persons"

    def __init__(self, listed=None):
        self.listed = listed or {}

    def key(self, index):
        return f"clip{index}"

    def __getitem__(self, index):
        pairs = self.listed.get(index)
        truth = {} if pairs is None else {"trials": pairs}
        return Record(self.key(index), index, b"", label=int(LABELS[index]), truth=truth)


def sides(embeddings, source=None, rows=None, asked=None):
    rows = np.arange(CLIPS) if rows is None else rows
    test = SimpleNamespace(
        embeddings={name: array[rows] for name, array in embeddings.items()},
        index=rows,
        labels=LABELS[rows],
    )
    return SimpleNamespace(
        test=test, scored=(source or Persons(), rows if asked is None else asked)
    )


def found(*arguments, **keywords):
    scores = identity(None, sides(*arguments, **keywords))
    return {(score.features, score.metric): score for score in scores}


def test_persons_apart_and_persons_alike():
    rng = np.random.default_rng(0)
    apart = np.eye(7)[LABELS] * rng.uniform(0.1, 9.0, (CLIPS, 1))
    alike = np.ones((CLIPS, 3))
    scores = found({"video": apart.astype(np.float32), "audio": alike.astype(np.float32)})
    values = {key: score.value for key, score in scores.items()}
    assert values["video", "eer"] == values["video", "min_dcf"] == 0.0
    assert values["audio", "eer"] == 0.5
    assert values["audio", "min_dcf"] == 1.0
    # Both at once: what is alike moves all cosines by as much.
    assert values["joint", "eer"] == 0.0
    assert {score.chance for (_, metric), score in scores.items() if metric == "eer"} == {0.5}
    # The clip of nobody is in no pair.
    assert {score.n for score in scores.values()} == {CLIPS - 1}


def test_the_rate_is_that_of_cosines_on_pairs_drawn_from_the_labels():
    features = np.random.default_rng(1).normal(size=(CLIPS, 4)) + np.eye(7)[LABELS][:, :4]
    score = found({"audio": features})["audio", "eer"]
    trials = draw_trials(LABELS)
    first, second = features[trials.first], features[trials.second]
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    expected = equal_error_rate((first * second).sum(axis=1) / norms, trials.same)
    assert 0.0 < score.value < 0.5
    assert score.value == pytest.approx(expected)
    assert score.interval is not None
    assert score.interval[0] < score.value < score.interval[1]


def test_pairs_that_the_data_lists_are_taken():
    # By the labels the first pair is of one person, and the list says the opposite.
    source = Persons({0: [("clip1", 0)], 7: [("clip20", 1), ("clip0", 0)]})
    features = np.eye(7)[LABELS].astype(np.float32)
    score = found({"video": features}, source)["video", "eer"]
    assert score.n == 4
    assert score.value > 0.5
    with pytest.raises(UsageError, match="names no pairs"):
        found({"video": features}, source, rows=np.array([7, 8]))


def test_pairs_of_clips_that_are_not_used_are_counted(capsys):
    """Of either side: the clip that names the pair, or the other."""
    source = Persons({0: [("clip1", 1), ("clip7", 0)], 7: [("clip20", 0)], 8: [("clip9", 0)]})
    features = np.eye(7)[LABELS].astype(np.float32)
    used = np.array([0, 1, 8, 9, 20])
    score = found({"video": features}, source, rows=used, asked=np.arange(CLIPS))["video", "eer"]
    assert score.n == 4
    said = capsys.readouterr().out
    assert said == "identity: 2 of 4 listed pairs are left out, as a clip of them is not used\n"
    found({"video": features}, source)
    assert capsys.readouterr().out == ""


def test_one_person_cannot_be_verified():
    with pytest.raises(UsageError, match="two identities or more"):
        found({"video": np.ones((CLIPS, 2))}, rows=np.arange(5))
