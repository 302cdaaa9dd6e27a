"""CRD and CMC: their losses on the objective's banks, negatives of other classes, and what is remembered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.memory_contrast import memory_nce_loss, memory_softmax_loss
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.objectives.base import Owned
from avssl.train.model import without_views

ROWS, WIDTH, CLASSES, RECORDS = 6, 5, 3, 12
LABELS = jnp.arange(RECORDS, dtype=jnp.int32) % CLASSES


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def made(name, **keys):
    small = {"num_classes": CLASSES, "num_negatives": 8, "embedding_width": 4}
    return build_objective(name, {**small, **keys}, num_records=RECORDS)


def batch_of():
    """Row 0 is not taught, row 1 has no picture, row 2 no label."""
    rows = jnp.arange(ROWS, dtype=jnp.int32)
    index = 2 * rows
    return {
        "present": {"video": rows != 1},
        "index": index,
        "row": rows,
        "label": jnp.where(rows == 2, -1, LABELS[index]),
        "taught": {"teacher": rows != 0},
        "targets": {"teacher": {"embedding": drawn(ROWS, 7, seed=5)}},
    }


def started(objective, batch):
    """The variables after the refresh that comes before the first step."""
    features = {objective.student_read: Features(drawn(ROWS, WIDTH))}
    variables = objective.init(jax.random.key(0), features, batch, method="initialise")
    if not objective.refresh_due(0):
        return variables
    owned = Owned(variables["params"], variables["memory"])
    owned = objective.refresh(owned, {"label": LABELS}, jnp.zeros(0, bool), 0, jax.random.key(1))
    return {**variables, "memory": owned.memory}


def step(objective, variables, student, batch):
    """(loss, (metrics, outputs, memory after the step, negatives))."""
    features, keys = {objective.student_read: Features(student)}, {"draw": jax.random.key(2)}
    outputs = objective.apply(variables, features, batch, train=True, method="heads")
    small = without_views(batch)
    outcome, changed = objective.apply(
        variables, outputs, small, train=True, mutable=["memory"], rngs=keys
    )
    negatives, _ = objective.apply(variables, small, method="negatives", rngs=keys)
    return outcome.loss, (outcome.metrics, outputs, changed["memory"], negatives)


def run(objective, variables, student, batch):
    function = jax.jit(
        jax.value_and_grad(lambda x: step(objective, variables, x, batch), has_aux=True)
    )
    return function(student)


@pytest.mark.parametrize(
    ("name", "softmax", "compared"),
    [("crd", False, [3, 4, 5]), ("cmc", False, [2, 3, 4, 5]), ("cmc", True, [2, 3, 4, 5])],
)
def test_the_loss_is_that_of_the_banks_beside_the_labels(name, softmax, compared):
    objective, batch = made(name, softmax=softmax), batch_of()
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)
    (total, (metrics, outputs, _, negatives)), gradient = run(objective, variables, student, batch)
    memory = variables["memory"]
    arguments = {
        "student_bank": memory["student_bank"],
        "teacher_bank": memory["teacher_bank"],
        "index": batch["index"],
        "negatives": negatives,
        "present": jnp.isin(jnp.arange(ROWS), jnp.asarray(compared)),
    }
    sides = (outputs["answer"], outputs["target"])
    if softmax:
        transfer, _ = memory_softmax_loss(*sides, **arguments)
    else:
        unset = {"student": jnp.zeros(()), "teacher": jnp.zeros(())}
        transfer, *_ = memory_nce_loss(*sides, partitions=unset, **arguments)
    labels, _ = pseudo_label_loss(
        outputs["logits"], batch["label"], present=batch["present"]["video"]
    )
    expected = labels + (0.8 if name == "crd" else 1.0) * transfer
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert metrics["taught"] == len(compared)
    assert not np.any(gradient[1]), "a row without a picture learns nothing"
    assert np.all(np.any(gradient[3:], axis=1))


def test_negatives_of_crd_are_of_other_classes_and_cmcs_of_other_records():
    batch, student = batch_of(), drawn(ROWS, WIDTH, seed=1)
    for name in ("crd", "cmc"):
        objective = made(name, num_negatives=200)
        (_, (*_, negatives)), _ = run(objective, started(objective, batch), student, batch)
        for row in (0, 3, 4, 5):
            found = set(np.asarray(negatives[row]).tolist())
            own = int(batch["index"][row])
            expected = {
                record
                for record in range(RECORDS)
                if (name == "crd" and LABELS[record] != LABELS[own])
                or (name == "cmc" and record != own)
            }
            assert found == expected


def test_taught_rows_are_remembered_and_z_is_kept():
    objective, batch = made("crd"), batch_of()
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)
    (_, (_, outputs, memory, _)), _ = run(objective, variables, student, batch)
    before = variables["memory"]
    for side, output in (("student", "answer"), ("teacher", "target")):
        changed = np.any(before[f"{side}_bank"] != memory[f"{side}_bank"], axis=1)
        assert np.flatnonzero(changed).tolist() == [4, 6, 8, 10]
        unit = outputs[output][3] / jnp.linalg.norm(outputs[output][3])
        moved = 0.5 * before[f"{side}_bank"][6] + 0.5 * unit
        expected = moved / jnp.linalg.norm(moved)
        np.testing.assert_allclose(memory[f"{side}_bank"][6], expected, rtol=1e-5, atol=1e-6)
        assert memory[f"{side}_partition"] > 0
    # A second step has the first one's Z.
    (_, (_, _, again, _)), _ = run(objective, {**variables, "memory": memory}, student, batch)
    assert again["student_partition"] == memory["student_partition"]


def test_one_class_alone_has_no_negatives_and_the_labels_are_still_learnt():
    objective, batch = made("crd"), batch_of()
    batch["label"] = jnp.zeros(ROWS, jnp.int32)
    variables = started(objective, batch)
    owned = objective.refresh(
        Owned(variables["params"], variables["memory"]), {"label": jnp.zeros(RECORDS, jnp.int32)},
        jnp.zeros(0, bool), 0, jax.random.key(1),
    )  # fmt: skip
    variables = {**variables, "memory": owned.memory}
    (total, (metrics, *_)), gradient = run(objective, variables, drawn(ROWS, WIDTH, seed=1), batch)
    assert metrics["taught"] == 0
    assert metrics["transfer"] == 0
    assert float(total) == pytest.approx(float(metrics["label_loss"]))
    assert np.all(np.isfinite(gradient))


def test_a_second_one_without_labels_says_no_classes():
    objective, batch = made("crd", label_weight=0.0), batch_of()
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)
    (total, (metrics, outputs, *_)), _ = run(objective, variables, student, batch)
    assert float(total) == pytest.approx(0.8 * float(metrics["transfer"]), rel=1e-5)
    assert "label_loss" not in metrics
    assert objective.label_logits(outputs) == objective.clusters(outputs) == {}
    assert made("crd").label_logits(outputs).keys() == {"video"}


def test_what_no_bank_can_serve_is_refused():
    with pytest.raises(UsageError, match=r"objectives\.crd keeps a row for each record"):
        started(build_objective("crd", {}, num_records=1), batch_of())
    with pytest.raises(UsageError, match=r"objectives\.cmc\.num_negatives must be at least 1"):
        started(made("cmc", num_negatives=0), batch_of())
