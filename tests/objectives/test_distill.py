"""Distill: each loss is that of `losses/` on the right two sides, beside the labels; silent rows leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.distillation import softened_divergence
from avssl.losses.hints import (
    attention_loss,
    hint_loss,
    pool_to_smaller,
    selectivity_loss,
    variational_loss,
)
from avssl.losses.kernel_transfer import information_flow, probabilistic_transfer
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.relations import (
    kernel_congruence,
    neighbour_congruence,
    relational_loss,
    similarity_loss,
)
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.objectives.transfers import PUBLISHED_WEIGHTS
from avssl.train.model import without_views

ROWS = 8
# What is compared with what: of the outputs of the heads, or of the teacher.
SIDES = {
    "kd": (softened_divergence, "logits", None),
    "hint": (hint_loss, "answer", None),
    "sp": (similarity_loss, "video", None),
    "pkt": (probabilistic_transfer, "video", None),
    "rkd": (relational_loss, "video", None),
    "ifd": (information_flow, "video", None),
    "kernel_cc": (kernel_congruence, "video", None),
    "cc": (neighbour_congruence, "answer", "target"),
}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def batch_of(targets):
    """Row 0 is not taught, row 1 has no picture, row 2 has no label."""
    taught = jnp.arange(ROWS) != 0
    label = jnp.where(jnp.arange(ROWS) == 2, -1, jnp.arange(ROWS) % 4)
    return {
        "present": {"video": jnp.arange(ROWS) != 1},
        "label": label,
        "taught": {"teacher": taught},
        "targets": {
            "teacher": {
                kind: jnp.where(taught.reshape(-1, *(1,) * (x.ndim - 1)), x, 0.0)
                for kind, x in targets.items()
            }
        },
    }


def made(loss, targets, **keys):
    shapes = {"teacher": {kind: x.shape[1:] for kind, x in targets.items()}}
    config = {"loss": loss, "num_classes": 4, **keys}
    return build_objective("distill", config, target_shapes=shapes)


def loss_and_outputs(objective, features, batch):
    """(loss, metrics, outputs, gradient of the loss) on an embedding and a map."""
    read = objective.student_read
    variables = objective.init(jax.random.key(0), {read: features}, batch, method="initialise")

    @jax.jit
    def run(features):
        outputs, _ = objective.apply(
            variables, {read: features}, batch, train=True, method="heads", mutable=["batch_stats"]
        )  # fmt: skip
        outcome = objective.apply(variables, outputs, without_views(batch), train=True)
        return outcome.loss, (outcome.metrics, outputs)

    (loss, (metrics, outputs)), gradient = jax.value_and_grad(run, has_aux=True)(features)
    return loss, metrics, outputs, gradient


@pytest.mark.parametrize("loss", SIDES)
def test_the_loss_is_that_of_the_two_sides_beside_the_labels(loss):
    targets = {"embedding": drawn(ROWS, 6), "logits": drawn(ROWS, 4)}
    batch = batch_of(targets)
    objective = made(loss, targets)
    features = Features(drawn(ROWS, 5, seed=1))
    total, metrics, outputs, gradient = loss_and_outputs(objective, features, batch)
    function, student, teacher = SIDES[loss]
    kind = "logits" if loss == "kd" else "embedding"
    target = outputs[teacher] if teacher else batch["targets"]["teacher"][kind]
    present = batch["present"]["video"] & batch["taught"]["teacher"]
    transfer = function(outputs[student], target, present=present)
    labels, _ = pseudo_label_loss(
        outputs["logits"], batch["label"], present=batch["present"]["video"]
    )
    label_weight, transfer_weight = PUBLISHED_WEIGHTS[loss]
    expected = label_weight * labels + transfer_weight * transfer
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert float(transfer) > 0
    assert metrics["taught"] == ROWS - 2
    assert metrics["num_rows"] == ROWS - 2
    assert not np.any(gradient.embedding[1]), "a row without a picture learns nothing"
    assert np.all(np.any(gradient.embedding[2:], axis=1))


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        ("hint", hint_loss),
        ("at", attention_loss),
        ("nst", selectivity_loss),
        ("vid", variational_loss),
    ],
)
def test_maps_stay_with_their_rows_and_give_the_loss_of_the_batch(loss, function):
    targets = {"map": drawn(ROWS, 1, 2, 2, 3)}
    batch = batch_of(targets)
    objective = made(loss, targets, kind="map", label_weight=0.0)
    features = Features(drawn(ROWS, 5, seed=1), drawn(ROWS, 1, 2, 2, 5, seed=2))
    total, metrics, outputs, gradient = loss_and_outputs(objective, features, batch)
    # Without labels there is no classifier to speak of.
    assert metrics.keys() == {"transfer", "taught"}
    assert objective.clusters(outputs) == {}
    assert outputs["row_losses"].shape == (ROWS,)
    assert "map" not in without_views(batch)["targets"]["teacher"]
    sides = (features.map, targets["map"])
    if loss in ("hint", "vid"):
        read = objective.student_read
        variables = objective.init(jax.random.key(0), {read: features}, batch, method="initialise")
        answer, _ = objective.apply(
            variables, features.map, mutable=["batch_stats"],
            method=lambda self, x: self.regressor(x, **({"train": True} if loss == "hint" else {})),
        )  # fmt: skip
        sides = (
            (answer, targets["map"]) if loss == "hint" else (answer[0], targets["map"], answer[1])
        )
    present = batch["present"]["video"] & batch["taught"]["teacher"]
    expected = function(*sides, present=present)
    assert float(total) == pytest.approx(PUBLISHED_WEIGHTS[loss][1] * float(expected), rel=1e-4)
    assert np.any(gradient.map[2:])


def of_two(first, second):
    """Of `first` row 0 is not taught, of `second` rows 0 to 3."""
    batch, other = batch_of(first), batch_of(second)
    taught = jnp.arange(ROWS) > 3
    return {
        **batch,
        "taught": {**batch["taught"], "image": taught},
        "targets": {**batch["targets"], "image": other["targets"]["teacher"]},
    }


def made_of_two(loss, first, second, **keys):
    shapes = {
        name: {kind: x.shape[1:] for kind, x in targets.items()}
        for name, targets in (("teacher", first), ("image", second))
    }
    config = {"loss": loss, "num_classes": 4, "also": ("image",), **keys}
    return build_objective("distill", config, target_shapes=shapes)


@pytest.mark.parametrize("loss", SIDES)
def test_several_teachers_share_the_weight_and_the_classifier(loss):
    first = {"embedding": drawn(ROWS, 6), "logits": drawn(ROWS, 4)}
    second = {"embedding": drawn(ROWS, 3, seed=8), "logits": drawn(ROWS, 4, seed=9)}
    batch, objective = of_two(first, second), made_of_two(loss, first, second)
    features = Features(drawn(ROWS, 5, seed=1))
    total, metrics, outputs, gradient = loss_and_outputs(objective, features, batch)
    function, student, target = SIDES[loss]
    kind = "logits" if loss == "kd" else "embedding"
    transfers = []
    for name, suffix in (("teacher", ""), ("image", "_image")):
        present = batch["present"]["video"] & batch["taught"][name]
        answer = outputs[f"answer{suffix}" if student == "answer" else student]
        said = outputs[f"target{suffix}"] if target else batch["targets"][name][kind]
        transfers.append(float(function(answer, said, present=present)))
        assert float(metrics[f"{name}_transfer"]) == pytest.approx(transfers[-1], rel=1e-5)
    assert (metrics["teacher_taught"], metrics["image_taught"]) == (ROWS - 2, ROWS - 4)
    assert float(metrics["transfer"]) == pytest.approx(np.mean(transfers), rel=1e-5)
    label_weight, transfer_weight = PUBLISHED_WEIGHTS[loss]
    expected = label_weight * float(metrics["label_loss"]) + transfer_weight * np.mean(transfers)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert np.all(np.any(gradient.embedding[2:], axis=1))


def test_each_teacher_has_layers_of_its_own_and_an_only_one_the_names_that_it_had():
    first, second = {"embedding": drawn(ROWS, 6)}, {"embedding": drawn(ROWS, 3)}
    one, two = made("cc", first), made_of_two("cc", first, second)
    features = {one.student_read: Features(drawn(ROWS, 5))}
    names = [
        each.init(jax.random.key(0), features, of_two(first, second), method="initialise")["params"]
        for each in (one, two)
    ]
    assert names[0].keys() == {"classifier", "student_head", "teacher_head"}
    assert names[1].keys() == {*names[0], "student_head_image", "teacher_head_image"}


def test_maps_of_several_teachers_may_differ_in_shape():
    first, second = {"map": drawn(ROWS, 1, 2, 2, 3)}, {"map": drawn(ROWS, 1, 4, 4, 2, seed=3)}
    batch, objective = of_two(first, second), made_of_two("at", first, second, label_weight=0.0)
    features = Features(drawn(ROWS, 5, seed=1), drawn(ROWS, 1, 4, 4, 5, seed=2))
    total, metrics, *_ = loss_and_outputs(objective, features, batch)
    losses = [
        float(attention_loss(
            features.map, targets["map"], present=batch["present"]["video"] & batch["taught"][name]
        ))
        for name, targets in (("teacher", first), ("image", second))
    ]  # fmt: skip
    assert float(metrics["image_transfer"]) == pytest.approx(losses[1], rel=1e-4)
    assert float(total) == pytest.approx(1000 * np.mean(losses), rel=1e-4)


def test_teachers_that_cannot_share_a_classifier():
    first, second = {"logits": drawn(ROWS, 4)}, {"logits": drawn(ROWS, 5)}
    objective = made_of_two("kd", first, second)
    features = {objective.student_read: Features(drawn(ROWS, 5))}
    with pytest.raises(UsageError, match=r"they know 4 \(teacher\), 5 \(image\) classes"):
        objective.init(jax.random.key(0), features, of_two(first, second), method="initialise")
    with pytest.raises(UsageError, match=r"distill.teacher and .also must name one.*different"):
        made("kd", first, also="teacher").targets()
    asked = made_of_two("kd", first, second, label_weight=0.0).targets()
    assert [(one.teacher, one.like) for one in asked] == [("teacher", ""), ("image", "teacher")]
    assert [one.teacher for one in made("sp", first, also="").targets()] == ["teacher"]


def test_a_larger_map_of_the_student_is_pooled_before_the_regressor_of_vid():
    """It acts on each position, so it is the same as being given the smaller map."""
    targets = {"map": drawn(ROWS, 1, 2, 2, 3)}
    objective = made("vid", targets)
    large = Features(drawn(ROWS, 5), drawn(ROWS, 1, 4, 4, 5, seed=2))
    small = Features(drawn(ROWS, 5), pool_to_smaller(large.map, targets["map"])[0])
    batch = batch_of(targets)
    of_large, of_small = (loss_and_outputs(objective, each, batch)[0] for each in (large, small))
    assert float(of_large) == pytest.approx(float(of_small), rel=1e-6)


def test_nobody_taught_and_nothing_labelled_is_zero():
    targets = {"logits": drawn(ROWS, 4)}
    batch = batch_of(targets)
    batch["taught"]["teacher"] = jnp.zeros(ROWS, bool)
    batch["label"] = jnp.full(ROWS, -1)
    total, *_, gradient = loss_and_outputs(
        made("kd", targets), Features(drawn(ROWS, 5)), batch
    )  # fmt: skip
    assert float(total) == 0.0
    assert not np.any(gradient.embedding)


def test_classes_are_asked_for_where_labels_are_used():
    assert made("kd", {"logits": drawn(1, 4)}).targets()[0].classes
    assert not made("kd", {"logits": drawn(1, 4)}, label_weight=0.0).targets()[0].classes
    assert not made("sp", {"embedding": drawn(1, 4)}).targets()[0].classes
    # What it learnt to name without labels are its teacher's classes.
    assert made("kd", {"logits": drawn(1, 4)}).classes_are_labels
    assert not made("kd", {"logits": drawn(1, 4)}, label_weight=0.0).classes_are_labels
    with pytest.raises(UsageError, match="'at' takes map, not 'logits'"):
        made("at", {}, kind="logits").targets()


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (None, "distill.loss=at needs the map of the encoder 'video', which gives none"),
        (drawn(ROWS, 2, 5), r"equally many axes.*'video' is \(2, 5\).*'teacher' \(1, 2, 2, 3\)"),
    ],
)
def test_maps_that_cannot_be_compared(student, said):
    targets = {"map": drawn(ROWS, 1, 2, 2, 3)}
    objective = made("at", targets)
    features = {objective.student_read: Features(drawn(ROWS, 5), student)}
    with pytest.raises(UsageError, match=said):
        objective.init(jax.random.key(0), features, batch_of(targets), method="initialise")


def test_a_second_one_has_a_name_of_its_own():
    first, second = (
        build_objective("distill", {}),
        build_objective("distill__image", {"loss": "sp"}),
    )
    assert type(first) is type(second)
    assert (first.config_key, second.config_key) == (
        "objectives.distill",
        "objectives.distill__image",
    )
    with pytest.raises(UsageError, match=r"unknown objective 'distil'.*did you mean 'distill'"):
        build_objective("distil__image", {})
    with pytest.raises(UsageError, match=r"'distill__image'.*did you mean 'loss'"):
        build_objective("distill__image", {"lss": "sp"})
