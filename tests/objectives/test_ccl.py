"""CCL: the loss is that of `losses/composition.py` on what the heads compose; silent rows leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.composition import compositional_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.model import without_views

ROWS, WIDTH, CLASSES = 8, 6, 4
BOTH = {"audio_teacher": "sound", "image_teacher": "picture"}
ABSENT = {"sound": 0, "picture": 3}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def batch_of(*teachers, width=WIDTH):
    """Row 1 has no picture, row 2 no label, and each teacher is silent of a row of its own."""
    rows = jnp.arange(ROWS)
    return {
        "present": {"video": rows != 1},
        "label": jnp.where(rows == 2, -1, rows % CLASSES),
        "taught": {name: rows != ABSENT[name] for name in teachers},
        "targets": {name: {"embedding": drawn(ROWS, width, seed=5)} for name in teachers},
    }


def made(**keys):
    return build_objective("ccl", {"num_classes": CLASSES, **keys})


def started(objective, batch):
    read = objective.student_read
    return objective.init(
        jax.random.key(0), {read: Features(drawn(ROWS, WIDTH))}, batch, method="initialise"
    )


def run(objective, variables, student, batch):
    """(loss, (metrics, outputs of the heads)) of the student's embeddings."""
    features = {objective.student_read: Features(student)}
    outputs = objective.apply(variables, features, batch, train=True, method="heads")
    outcome = objective.apply(variables, outputs, without_views(batch), train=True)
    return outcome.loss, (outcome.metrics, outputs)


@pytest.mark.parametrize(
    ("keys", "sides"),
    [
        ({"audio_teacher": "sound"}, {"audio": "sound"}),
        ({"audio_teacher": "", "image_teacher": "picture"}, {"image": "picture"}),
        (BOTH, {"audio": "sound", "image": "picture"}),
    ],
)
def test_the_loss_is_that_of_the_composed(keys, sides):
    objective, batch = made(**keys), batch_of(*sides.values())
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)
    total, (metrics, outputs) = jax.jit(lambda x: run(objective, variables, x, batch))(student)
    names = ("composed", "logits", "composed_detached", "logits_detached")
    branches = {
        side: {
            **{name: outputs[f"{side}_{name}"] for name in names},
            "teacher": batch["targets"][teacher]["embedding"],
            "present": batch["taught"][teacher] & batch["present"]["video"],
        }
        for side, teacher in sides.items()
    }
    expected, expected_metrics = compositional_loss(
        student, outputs["logits"], batch["label"], branches, present=batch["present"]["video"]
    )
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert metrics.keys() == expected_metrics.keys()
    # Without the row that is not seen, the one that has no label, and the one that nobody teaches.
    for side in sides:
        assert metrics[f"{side}_num_rows"] == ROWS - 3


def test_rows_teach_and_learn_where_both_are_there():
    objective, batch = made(**BOTH), batch_of("sound", "picture")
    variables, student = started(objective, batch), drawn(ROWS, WIDTH, seed=1)
    gradient = jax.jit(jax.grad(lambda x: run(objective, variables, x, batch)[0]))(student)
    assert not np.any(gradient[1:3]), "without a picture or a label nothing is learnt"
    assert np.all(np.any(gradient[3:], axis=1))


def test_settings_reach_the_loss():
    batch, student = batch_of("sound"), drawn(ROWS, WIDTH, seed=1)

    def loss(**keys):
        objective = made(audio_teacher="sound", **keys)
        return float(run(objective, started(objective, batch), student, batch)[0])

    published = loss()
    assert loss(audio_temperature=0.5, distillation_weight=1.0) == pytest.approx(published)
    assert loss(audio_temperature=0.1) != pytest.approx(published, rel=1e-3)
    assert loss(distillation_weight=0.5) != pytest.approx(published, rel=1e-3)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UsageError, match="ccl needs a teacher"):
        made(audio_teacher="").targets()
    objective, batch = made(audio_teacher="sound"), batch_of("sound", width=5)
    with pytest.raises(UsageError, match="'video' gives 6, the teacher 'sound' 5"):
        started(objective, batch)
