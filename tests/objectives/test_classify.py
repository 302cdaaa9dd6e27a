"""Fine-tuning's head: one modality or both, what rows leave, tags from memory, dropout by row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax

from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.objectives.base import Owned
from tests.train.small_runs import batches, small_config, train

ROWS, WIDTH, CLASSES, RECORDS = 6, 5, 3, 9
LABELS = np.array([0, 2, -1, 1, 3, 1], np.int32)  # row 4: a class that has no logit
TAGS = np.array([[row & 1, row >> 1 & 1] for row in range(RECORDS)], np.int8)
TAGS[-1] = -1
INDEX = np.array([0, 6, RECORDS - 1, 3, 5, 7], np.int32)
BOTH = ("video", "audio")


def made(**keys) -> Any:
    config = {"num_classes": CLASSES, **keys}
    return build_objective("classify", config, num_records=RECORDS)


def batch_of():
    """Row 0 lacks the sound, row 1 the picture, row 5 both."""
    rows = jnp.arange(ROWS, dtype=jnp.int32)
    return {
        "present": {
            "audio": jnp.asarray([0, 1, 1, 1, 1, 0], bool),
            "video": jnp.asarray([1, 0, 1, 1, 1, 0], bool),
        },
        "index": jnp.asarray(INDEX), "label": jnp.asarray(LABELS), "row": rows,
        "step": jnp.zeros((), jnp.int32),
    }  # fmt: skip


def features_of(objective):
    draws = np.random.default_rng(0)
    return {
        read: Features(jnp.asarray(draws.normal(size=(ROWS, WIDTH)), jnp.float32))
        for read in objective.reads()
    }


def started(objective):
    variables = objective.init(
        jax.random.key(0), features_of(objective), batch_of(), method="initialise"
    )
    if not objective.refresh_due(0):
        assert "memory" not in variables
        return variables
    owned = Owned(variables["params"], variables["memory"])
    kept = {"tags": jnp.asarray(TAGS)}
    owned = objective.refresh(owned, kept, jnp.zeros(0, bool), 0, jax.random.key(1))
    return {**variables, "memory": owned.memory}


def outcome_of(objective, variables, features, *, train=False, batch=None, seed=0):
    batch = batch_of() if batch is None else batch
    rngs = {"draw": jax.random.key(seed)}
    outputs = objective.apply(variables, features, batch, train=train, method="heads", rngs=rngs)
    return outputs, objective.apply(variables, outputs, batch, train=train)


@pytest.mark.parametrize(
    ("modalities", "counted"), [(("video",), [0, 3]), (("audio",), [1, 3]), (BOTH, [0, 1, 3])]
)
def test_the_loss_is_that_of_the_rows_that_say_something(modalities, counted):
    objective = made(modalities=modalities)
    variables, features = started(objective), features_of(objective)
    outputs, outcome = outcome_of(objective, variables, features)
    logits = np.asarray(outputs["logits"], np.float64)
    expected = -np.mean([log_softmax(logits[row])[LABELS[row]] for row in counted])
    assert float(outcome.loss) == pytest.approx(expected, rel=1e-5)
    assert outcome.metrics["num_rows"] == len(counted)


def test_a_modality_that_a_clip_lacks_is_zeros():
    objective = made(modalities=BOTH)
    variables, features = started(objective), features_of(objective)
    other = {read: Features(x.embedding + 100.0) for read, x in features.items()}
    audio, video = objective.audio_read, objective.video_read
    logits = outcome_of(objective, variables, features)[0]["logits"]
    changed = outcome_of(objective, variables, {video: features[video], audio: other[audio]})[0]
    np.testing.assert_array_equal(changed["logits"][0], logits[0])
    assert np.all(np.abs(changed["logits"][1:5] - logits[1:5]).max(axis=1) > 1)
    bias = variables["params"]["classifier"]["bias"]
    np.testing.assert_array_equal(logits[5], bias)


def test_tags_of_memory_and_those_that_nobody_knows():
    objective = made(modalities=BOTH, multi_label=True)
    outputs, outcome = outcome_of(objective, started(objective), features_of(objective))
    probability = expit(np.asarray(outputs["logits"], np.float64))
    tags = np.pad(TAGS[INDEX], ((0, 0), (0, 1)))  # the third class is in no data
    rows = [0, 1, 3, 4]
    right = np.where(tags[rows] > 0, probability[rows], 1 - probability[rows])
    assert float(outcome.loss) == pytest.approx(-np.log(right).mean(), rel=1e-5)
    assert outcome.metrics["num_rows"] == len(rows)


def test_smoothing_raises_the_loss_of_the_sure():
    losses = [
        float(outcome_of(one, started(one), features_of(one))[1].loss)
        for one in (made(label_smoothing=value) for value in (0.0, 0.1, 0.5))
    ]
    assert len(set(losses)) == 3
    tagged = [made(multi_label=True, label_smoothing=value) for value in (0.0, 0.5)]
    assert len({float(outcome_of(x, started(x), features_of(x))[1].loss) for x in tagged}) == 2


def test_dropout_is_in_training_and_by_row():
    objective = made(dropout=0.5)
    variables, features = started(objective), features_of(objective)

    def logits(rows=slice(None), **keys):
        batch = jax.tree.map(lambda leaf: leaf[rows] if leaf.ndim else leaf, batch_of())
        own = {read: Features(x.embedding[rows]) for read, x in features.items()}
        return np.asarray(outcome_of(objective, variables, own, batch=batch, **keys)[0]["logits"])

    still, moved = logits(), logits(train=True)
    # Row 1 has no picture, of which nothing could be dropped.
    assert np.all(np.abs(still - moved)[[0, 2, 3, 4]].max(axis=1) > 0)
    np.testing.assert_array_equal(logits(train=True), moved)
    assert not np.array_equal(logits(train=True, seed=1), moved)
    np.testing.assert_allclose(logits(slice(3, 6), train=True), moved[3:6], rtol=1e-5, atol=1e-6)


def test_what_others_see_of_it():
    outputs = {"logits": jnp.eye(CLASSES)}
    one, both, tagging = made(), made(modalities=BOTH), made(multi_label=True)
    assert one.label_logits(outputs).keys() == {"video"}
    assert both.label_logits(outputs).keys() == {"joint"}
    assert tagging.label_logits(outputs) == one.tag_logits(outputs) == {}
    assert tagging.tag_logits(outputs).keys() == {"video"}
    assert one.clusters(outputs)["video"].tolist() == list(range(CLASSES))
    # It can teach classes where they are of one encoder, and shares of a whole.
    assert [x.classifies("video") for x in (one, both, tagging)] == [True, False, False]
    assert not one.classifies("audio")
    views = {"audio": "the sound", "video": "the picture"}
    assert one.views(views) == one.needed_views(views) == {"video": "the picture"}
    assert both.views(views) == views
    # A clip that is known to have one of them is trained on.
    assert both.needed_views(views) == {}


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="'audio'"):
        made(modalities=("audi",)).reads()
    with pytest.raises(UsageError, match="modalities is empty"):
        made(modalities=()).reads()
    wrong = made(label_smoothing=1.0)
    with pytest.raises(UsageError, match="label_smoothing must be at least 0 and below 1"):
        started(wrong)
    objective = made()
    windows = {read: Features(jnp.zeros((ROWS, 2, WIDTH))) for read in objective.reads()}
    with pytest.raises(UsageError, match=r"set views\.video\.windows=1"):
        objective.init(jax.random.key(0), windows, batch_of(), method="initialise")


@pytest.mark.parametrize(
    "keys", [{"modalities": BOTH, "dropout": 0.3}, {"modalities": ("audio",), "multi_label": True}]
)
def test_some_steps_bring_the_loss_down(keys):
    config = small_config("classify", precision="float32")
    config.objectives.classify.update(keys)
    config.optimizer.learning_rate = 0.3
    losses, _ = train(config, batches(config, 1) * 12, 8)
    assert losses[-1] < 0.9 * losses[0]
