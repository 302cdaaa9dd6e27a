"""Three levels: the loss is that of `losses/` against both teachers as one; silent rows leave; margins."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.angular_margin import additive_angular_margin
from avssl.losses.three_level import three_level_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.model import without_views
from tests.train.small_runs import batches, small_config, train

ROWS, WIDTH, CLASSES = 8, 5, 4
SIZES = {"voice": 3, "face": 2}
BOTH = {"audio_teacher": "voice", "video_teacher": "face"}
SILENT = {"voice": 0, "face": 3}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def batch_of(modality="audio", step=0):
    """Row 1 lacks the student's modality, row 2 a label, and each teacher is silent of a row of its own."""
    rows = jnp.arange(ROWS, dtype=jnp.int32)
    return {
        "present": {modality: rows != 1},
        "label": jnp.where(rows == 2, -1, rows % CLASSES),
        "index": rows,
        "step": jnp.asarray(step, jnp.int32),
        "taught": {name: rows != row for name, row in SILENT.items()},
        "targets": {
            name: {
                "embedding": drawn(ROWS, size, seed=size),
                "logits": 5.0 * drawn(ROWS, CLASSES, seed=10 + size),
            }
            for name, size in SIZES.items()
        },
    }


def made(**keys) -> Any:
    shapes = {name: {"embedding": (size,), "logits": (CLASSES,)} for name, size in SIZES.items()}
    config = {"student": "audio", "num_classes": CLASSES, **BOTH, **keys}
    return build_objective("three_level", config, target_shapes=shapes)


def started(objective, batch):
    features = {objective.student_read: Features(drawn(ROWS, WIDTH))}
    return objective.init(jax.random.key(0), features, batch, method="initialise")


def run(objective, variables, student, batch) -> Any:
    """(loss, (metrics, outputs of the heads)) of the student's embeddings."""
    features = {objective.student_read: Features(student)}
    outputs = objective.apply(variables, features, batch, train=True, method="heads")
    outcome = objective.apply(variables, outputs, without_views(batch), train=True)
    return outcome.loss, (outcome.metrics, outputs)


def joint(targets, names):
    """The embedding and the logits of the teachers as one."""
    embeddings = [np.asarray(targets[name]["embedding"]) for name in names]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in embeddings]
    logits = np.mean([targets[name]["logits"] for name in names], axis=0)
    return jnp.asarray(np.concatenate(unit, axis=1)), jnp.asarray(logits)


@pytest.mark.parametrize("modality", ["audio", "video"])
@pytest.mark.parametrize("distribution", ["similarity", "moments", "kernel"])
def test_the_loss_is_that_of_both_teachers_as_one(modality, distribution):
    weights = {"label_weight": 0.5, "embedding_weight": 2.0, "distribution_weight": 3.0}
    objective = made(student=modality, distribution=distribution, **weights)
    batch = batch_of(modality)
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)
    total, (metrics, outputs) = jax.jit(lambda x: run(objective, variables, x, batch))(student)
    embedding, logits = joint(batch["targets"], SIZES)
    present = batch["present"][modality]
    taught = present & batch["taught"]["voice"] & batch["taught"]["face"]
    levels, expected = three_level_loss(
        student, embedding, outputs["logits"], logits, answer=outputs["answer"],
        distribution=distribution, index=batch["index"], present=taught, **weights,
    )  # fmt: skip
    own, _ = additive_angular_margin(outputs["logits"] / 32, batch["label"], present=present)
    assert float(total) == pytest.approx(float(levels + own), rel=1e-5)
    for level in ("label", "embedding", "distribution"):
        assert float(metrics[level]) == pytest.approx(float(expected[level]), rel=1e-5)
    assert metrics["taught"] == ROWS - 3
    assert metrics["num_rows"] == ROWS - 2
    if distribution == "similarity":
        alike = three_level_loss(
            student, embedding, outputs["logits"], logits,
            label_weight=0.0, embedding_weight=0.0, index=batch["index"], present=taught,
        )[0]  # fmt: skip
        assert float(metrics["distribution"]) == pytest.approx(float(alike), rel=1e-5)


def test_who_is_not_taught_learns_the_label_and_teachers_learn_nothing():
    objective, batch = made(), batch_of()
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)

    def loss(student, targets):
        return run(objective, variables, student, {**batch, "targets": targets})[0]

    of_student, of_teachers = jax.jit(jax.grad(loss, argnums=(0, 1)))(student, batch["targets"])
    assert not np.any(of_student[1]), "a row that lacks the modality learns nothing"
    assert np.all(np.any(np.delete(of_student, 1, axis=0), axis=1))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_teachers))
    unlabelled = {**batch, "label": jnp.full(ROWS, -1)}
    alone = jax.jit(jax.grad(lambda x: run(objective, variables, x, unlabelled)[0]))(student)
    assert not np.any(alone[jnp.array([0, 1, 3])])
    assert np.all(np.any(np.delete(alone, [0, 1, 3], axis=0), axis=1))


def test_without_teachers_there_is_the_margin_alone():
    objective, batch = made(audio_teacher="", video_teacher=""), batch_of()
    assert objective.targets() == ()
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)
    total, (metrics, outputs) = run(objective, variables, student, batch)
    own, _ = additive_angular_margin(
        outputs["logits"] / 32, batch["label"], present=batch["present"]["audio"]
    )
    assert float(total) == pytest.approx(float(own), rel=1e-6)
    assert "taught" not in metrics
    assert variables["params"].keys() == {"classifier"}


def test_each_teacher_is_asked_for_what_a_level_needs():
    def asked(**keys):
        return {(target.teacher, target.kind) for target in made(**keys).targets()}

    both = {"voice", "face"}
    assert asked() == {(name, kind) for name in both for kind in ("embedding", "logits")}
    alone = {"label_weight": 0.0, "embedding_weight": 0.0, "distribution_weight": 0.0}
    assert asked(**{**alone, "label_weight": 1.0}) == {(name, "logits") for name in both}
    assert asked(**{**alone, "embedding_weight": 1.0}) == {(name, "embedding") for name in both}
    assert asked(video_teacher="") == {("voice", "embedding"), ("voice", "logits")}
    with pytest.raises(UsageError, match="has teachers and no level"):
        asked(**alone)


def test_the_margin_grows():
    objective = made(margin_warmup_steps=4)
    variables, student = started(objective, batch_of()), drawn(ROWS, WIDTH, seed=1)
    found = [
        float(run(objective, variables, student, batch_of(step=step))[1][0]["classification"])
        for step in (0, 1, 3, 9)
    ]
    outputs = run(objective, variables, student, batch_of())[1][1]
    for value, margin in zip(found, (0.05, 0.1, 0.2, 0.2), strict=True):
        expected, _ = additive_angular_margin(
            outputs["logits"] / 32, batch_of()["label"], margin=margin,
            present=batch_of()["present"]["audio"],
        )  # fmt: skip
        assert value == pytest.approx(float(expected), rel=1e-5)


def test_sizes_without_a_head():
    objective = made(embedding_head=False)
    batch = batch_of()
    assert "student_head" not in started(objective, batch)["params"]
    features = {objective.student_read: Features(drawn(ROWS, 7))}
    with pytest.raises(UsageError, match="'audio' gives 7, its teachers together 5"):
        objective.init(jax.random.key(0), features, batch, method="initialise")


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match=r"distribution.*'moment'.*moments"):
        made(distribution="moment").targets()
    with pytest.raises(UsageError, match=r"three_level\.student"):
        _ = made(student="voice").student_read
    with pytest.raises(UsageError, match="margin of at least 0"):
        started(made(margin=-0.1), batch_of())
    shapes = {
        "voice": {"embedding": (3,), "logits": (4,)},
        "face": {"embedding": (2,), "logits": (5,)},
    }
    other = build_objective("three_level", BOTH, target_shapes=shapes)
    with pytest.raises(UsageError, match="same identities: they have 'voice' 4 and 'face' 5"):
        _ = other.num_identities


def test_some_steps_come_nearer_to_the_teachers():
    config = small_config("three_level", precision="float32")
    config.objectives.three_level.student = "video"
    config.optimizer.learning_rate = 0.05
    losses, _ = train(config, batches(config, 1) * 12, 1)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_supervised_by_angles(modality):
    """The teachers' own objective: the loss of each modality has the margin, its logits have none."""
    objective: Any = build_objective("supervised", {"num_classes": CLASSES, "margin": 0.3})
    features = {read: Features(drawn(ROWS, WIDTH, seed=2)) for read in objective.reads()}
    batch = {
        **batch_of(),
        "present": {"video": jnp.ones(ROWS, bool), "audio": jnp.ones(ROWS, bool)},
    }
    variables = objective.init(jax.random.key(0), features, batch, method="initialise")
    outputs = objective.apply(variables, features, batch, train=True, method="heads")
    logits = outputs[f"{modality}_logits"]
    assert float(jnp.max(jnp.abs(logits))) <= 32.0
    loss, _ = objective.apply(
        variables, logits, batch["label"], batch["present"][modality], method="classification"
    )
    expected, _ = additive_angular_margin(
        logits / 32, batch["label"], margin=0.3, present=batch["present"][modality]
    )
    assert float(loss) == pytest.approx(float(expected))
    total = objective.apply(variables, outputs, batch, train=True).loss
    both = [
        additive_angular_margin(
            outputs[f"{side}_logits"] / 32,
            batch["label"],
            margin=0.3,
            present=batch["present"][side],
        )[0]
        for side in ("video", "audio")
    ]
    assert float(total) == pytest.approx(float(sum(both)) / 2, rel=1e-6)
    with pytest.raises(UsageError, match=r"supervised\.margin must be at least 0, not -1"):
        build_objective("supervised", {"margin": -1.0}).init(
            jax.random.key(0), features, batch, method="initialise"
        )
