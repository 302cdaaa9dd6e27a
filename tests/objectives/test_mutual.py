"""Mutual learning: the loss is that of `losses/mutual.py` on tags from memory; rows leave what they lack."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.mutual import mutual_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.objectives.base import Owned
from avssl.train.model import without_views
from tests.train.small_runs import batches, small_config, train

ROWS, WIDTH, OTHER, CLASSES, RECORDS = 6, 5, 3, 4, 9
# Of each record: one class, several, or none. Of the last nobody said; class 3 is in no data.
TAGS = np.array([[row & 1, row >> 1 & 1, row >> 2 & 1] for row in range(RECORDS)], np.int8)
TAGS[-1] = -1
WEIGHTS: dict[str, Any] = {"single_modal_weight": 0.3, "cross_modal_weight": 0.7}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def batch_of(step=0):
    """Row 0 lacks the sound, row 1 the picture; of row 2 nobody said what its tags are."""
    rows = jnp.arange(ROWS, dtype=jnp.int32)
    return {
        "present": {"audio": rows != 0, "video": rows != 1},
        "index": jnp.array([0, 6, RECORDS - 1, 3, 5, 7], jnp.int32),
        "step": jnp.asarray(step, jnp.int32),
        "row": rows,
    }


def made(**keys) -> Any:
    config = {"num_classes": CLASSES, "fusion_width": 8, **WEIGHTS, **keys}
    return build_objective("mutual", config, num_records=RECORDS)


def features_of(objective):
    student, other, branch = objective.reads()
    return {
        student: Features(drawn(ROWS, WIDTH, seed=1)),
        other: Features(drawn(ROWS, OTHER, seed=2)),
        branch: Features(drawn(ROWS, WIDTH, seed=3)),
    }


def started(objective, tags=TAGS):
    """The variables after the refresh that comes before the first step."""
    variables = objective.init(
        jax.random.key(0), features_of(objective), batch_of(), method="initialise"
    )
    owned = Owned(variables["params"], variables["memory"])
    known = {"tags": jnp.asarray(tags)}
    owned = objective.refresh(owned, known, jnp.zeros(0, bool), 0, jax.random.key(1))
    return {**variables, "memory": owned.memory}


def run(objective, variables, features, batch):
    """(loss, (metrics, outputs of the heads))."""
    outputs = objective.apply(variables, features, batch, train=True, method="heads")
    outcome = objective.apply(variables, outputs, without_views(batch), train=True)
    return outcome.loss, (outcome.metrics, outputs)


def trained(objective, variables, batch):
    """((loss, (metrics, outputs)), the gradient of each read's embedding)."""
    reads, features = objective.reads(), features_of(objective)

    def loss(embeddings):
        given = {read: Features(x) for read, x in zip(reads, embeddings, strict=True)}
        return run(objective, variables, given, batch)

    function = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return function([features[read].embedding for read in reads])


@pytest.mark.parametrize("student", ["audio", "video"])
def test_the_loss_is_that_of_the_tags_in_memory(student):
    objective, batch = made(student=student), batch_of()
    variables = started(objective)
    (total, (metrics, outputs)), gradients = trained(objective, variables, batch)
    tags = jnp.asarray(np.pad(np.maximum(TAGS, 0), ((0, 0), (0, 1)))[batch["index"]], jnp.float32)
    other = "video" if student == "audio" else "audio"
    reads = objective.reads()
    expected, terms = mutual_loss(
        outputs["logits"], outputs["teacher_logits"],
        features_of(objective)[reads[0]].embedding, features_of(objective)[reads[2]].embedding, tags,
        student_present=batch["present"][student], other_present=batch["present"][other],
        known=jnp.broadcast_to(jnp.arange(ROWS)[:, None] != 2, tags.shape), **WEIGHTS,
    )  # fmt: skip
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert {name: float(x) for name, x in metrics.items()} == pytest.approx(
        {name: float(x) for name, x in terms.items()}, rel=1e-5
    )
    assert metrics["num_rows"] == ROWS - 1
    assert metrics["num_pairs"] == ROWS - 2
    assert metrics["num_labelled"] == ROWS - 2
    absent, alone = (0, 1) if student == "audio" else (1, 0)
    of_student, of_other, of_branch = gradients
    assert not any(np.any(gradient[absent]) for gradient in gradients)
    # Where the other modality is lacking, both still learn what their own has in common.
    assert np.any(of_student[alone])
    assert np.any(of_branch[alone])
    assert not np.any(of_other[alone])
    assert all(np.all(np.any(gradient[2:], axis=1)) for gradient in gradients)


def test_a_record_keeps_the_tags_that_are_known():
    """Without its first one the others are learnt, and nothing depends on what stands in its place."""
    objective, batch = made(), batch_of()
    held_back = TAGS.copy()
    held_back[3, 0] = -1  # the record of row 3
    variables, without = started(objective), started(objective, held_back)
    own = without["memory"]["tags"][batch["index"][3]]
    assert own.tolist() == [-1, *TAGS[3, 1:], 0]
    _, (metrics, outputs) = trained(objective, without, batch)[0]
    _, (complete, _) = trained(objective, variables, batch)[0]
    assert metrics["num_labelled"] == complete["num_labelled"]
    logit = float(outputs["logits"][3, 0])
    lost = np.logaddexp(0, logit) - logit * TAGS[3, 0]
    expected = complete["student_classification"] - lost / (ROWS - 2)
    assert float(metrics["student_classification"]) == pytest.approx(float(expected), rel=1e-5)


def test_one_way_the_teacher_learns_from_labels_alone():
    objective, batch = made(one_way=True), batch_of()
    variables = started(objective)
    _, (of_student, *of_teacher) = trained(objective, variables, batch)
    silent = made(single_modal_weight=0.0, cross_modal_weight=0.0)
    _, (of_student_alone, *of_teacher_alone) = trained(silent, variables, batch)
    for found, alone in zip(of_teacher, of_teacher_alone, strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-7)
    assert not np.allclose(of_student[3:], of_student_alone[3:], rtol=1e-2)
    _, (of_student_too, *_) = trained(made(), variables, batch)
    np.testing.assert_allclose(of_student, of_student_too, rtol=1e-5, atol=1e-7)


def test_the_transfer_waits_for_the_warm_up():
    objective = made(transfer_warmup_steps=3)
    variables, features = started(objective), features_of(objective)
    early, late = (run(objective, variables, features, batch_of(step))[0] for step in (2, 3))
    alone = made(single_modal_weight=0.0, cross_modal_weight=0.0)
    assert float(early) == pytest.approx(
        float(run(alone, variables, features, batch_of())[0]), rel=1e-6
    )
    assert float(late) == pytest.approx(
        float(run(made(), variables, features, batch_of())[0]), rel=1e-6
    )
    assert float(late) > float(early)


def test_tags_are_learnt_once_and_stay():
    objective = made()
    assert objective.refresh_tags
    assert objective.refresh_due(0)
    assert not objective.refresh_due(1)
    variables = started(objective)
    tags = variables["memory"]["tags"]
    assert tags.dtype == jnp.int8
    # A class that the data lacks is on no clip of which tags are known.
    np.testing.assert_array_equal(tags[:-1], np.pad(TAGS[:-1], ((0, 0), (0, 1))))
    np.testing.assert_array_equal(tags[-1], -1)
    for train_ in (False, True):
        outputs = run(objective, variables, features_of(objective), batch_of())[1][1]
        _, changed = objective.apply(
            variables, outputs, batch_of(), train=train_, mutable=["memory"]
        )
        np.testing.assert_array_equal(changed["memory"]["tags"], tags)


def test_what_an_evaluation_looks_at():
    objective = made()
    # The student is the first of its modality.
    assert [read.encoder for read in objective.reads()] == ["audio", "video", "teacher"]
    outputs = {"logits": jnp.eye(CLASSES), "teacher_logits": -jnp.eye(CLASSES)}
    assert objective.tag_logits(outputs).keys() == {"audio", "joint"}
    assert objective.clusters(outputs)["audio"].tolist() == list(range(CLASSES))
    said = {who: objective.can_say(batch_of(), who).tolist() for who in ("audio", "joint")}
    assert [said["audio"].index(False), said["audio"].count(False)] == [0, 1]
    assert [place for place, can in enumerate(said["joint"]) if not can] == [0, 1]
    views = {"audio": "the sound", "video": "the picture"}
    assert objective.views(views) == views
    assert objective.needed_views(views) == {"audio": "the sound"}


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="teacher_encoder is 'audio', which is an encoder of the"):
        made(teacher_encoder="audio").reads()
    objective = made()
    features = features_of(objective)
    features[objective.branch_read] = Features(drawn(ROWS, 7))
    with pytest.raises(UsageError, match="'audio' gives 5, 'teacher' 7"):
        objective.init(jax.random.key(0), features, batch_of(), method="initialise")
    with pytest.raises(UsageError, match=r"num_classes is 4, and the data has 5"):
        started(objective, np.zeros((RECORDS, 5), np.int8))
    with pytest.raises(UsageError, match="nobody said of any clip"):
        started(objective, np.full((RECORDS, CLASSES), -1, np.int8))


def test_some_steps_bring_both_nearer_to_the_tags():
    config = small_config("mutual", precision="float32")
    losses, _ = train(config, batches(config, 1) * 12, 1)
    assert losses[-1] < 0.8 * losses[0]
