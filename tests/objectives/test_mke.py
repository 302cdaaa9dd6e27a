"""MKE: the loss is that of `losses/` on the teacher's classes and noisy embeddings; no label is looked at."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.knowledge_expansion import expansion_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.model import without_views
from tests.train.small_runs import batches, small_config, train

ROWS, CLASSES = 6, 4
WIDTHS = {"video": 5, "audio": 3}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def batch_of():
    """Row 0 lacks the picture, row 1 the sound, row 2 what the teacher sees. There is no label."""
    rows = jnp.arange(ROWS, dtype=jnp.int32)
    return {
        "present": {"video": rows != 0, "audio": rows != 1},
        "row": rows,
        "taught": {"teacher": rows != 2},
        "targets": {"teacher": {"logits": drawn(ROWS, CLASSES, seed=9)}},
    }


def made(of_labels=(), **keys) -> Any:
    config = {"hidden_widths": (32,), **keys}
    shapes = {"teacher": {"logits": (CLASSES,)}}
    return build_objective("mke", config, target_shapes=shapes, teachers_of_labels=of_labels)


def features_of(objective):
    return {
        read: Features(drawn(ROWS, WIDTHS[modality], seed=WIDTHS[modality]))
        for modality, read in objective.chosen_reads.items()
    }


def run(objective, variables, features, batch, key=0):
    """(loss, (metrics, outputs of the heads))."""
    outputs = objective.apply(variables, features, batch, train=True, method="heads")
    outcome = objective.apply(
        variables, outputs, without_views(batch), train=True, rngs={"draw": jax.random.key(key)}
    )
    return outcome.loss, (outcome.metrics, outputs)


def started(objective):
    keys = {"params": jax.random.key(0), "draw": jax.random.key(1)}
    return objective.init(keys, features_of(objective), batch_of(), method="initialise")


def trained(objective, batch, key=0):
    """((loss, (metrics, outputs)), gradients by modality, gradient of the targets)."""
    variables = started(objective)

    reads, features = objective.chosen_reads, features_of(objective)

    def loss(embeddings, targets):
        given = {reads[modality]: Features(x) for modality, x in embeddings.items()}
        return run(objective, variables, given, {**batch, "targets": targets}, key)

    function = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    embeddings = {modality: features[read].embedding for modality, read in reads.items()}
    found, (of_student, of_teacher) = function(embeddings, batch["targets"])
    return found, of_student, of_teacher


@pytest.mark.parametrize(
    ("modalities", "missing"), [(("video", "audio"), [0, 1, 2]), (("audio",), [1, 2])]
)
@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_is_that_of_the_teachers_classes(modalities, missing, soft):
    objective, batch = made(modalities=modalities, soft=soft), batch_of()
    (total, (metrics, outputs)), gradients, of_teacher = trained(objective, batch)
    taught = np.isin(np.arange(ROWS), missing, invert=True)
    said = batch["targets"]["teacher"]["logits"]
    expected, _ = expansion_loss(
        outputs["logits"],
        jax.nn.softmax(said) if soft else jnp.argmax(said, axis=1),
        present=jnp.asarray(taught),
    )
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert metrics["taught"] == metrics["num_rows"] == taught.sum()
    assert gradients.keys() == set(modalities)
    for gradient in gradients.values():
        assert not np.any(gradient[~taught])
        assert np.all(np.any(gradient[taught], axis=1))
    assert not np.any(of_teacher["teacher"]["logits"])
    name = "joint" if len(modalities) > 1 else "audio"
    clusters = objective.clusters(outputs)
    assert clusters.keys() == {name}
    np.testing.assert_array_equal(clusters[name], np.argmax(outputs["logits"], axis=1))


def test_noise_is_drawn_anew_and_consistency_pulls_to_the_answer_without():
    objective, batch = made(noise=1.0, consistency_weight=2.0), batch_of()
    (total, (metrics, outputs)), *_ = trained(objective, batch)
    (other, _), *_ = trained(objective, batch, key=5)
    assert float(total) != pytest.approx(float(other), rel=1e-3)
    variables, small = started(objective), without_views(batch)
    taught = jnp.arange(ROWS) > 2
    transformed = objective.apply(
        variables, outputs, batch["row"], taught, True,
        method="transformed_logits", rngs={"draw": jax.random.key(0)},
    )  # fmt: skip
    expected, terms = expansion_loss(
        transformed, jnp.argmax(small["targets"]["teacher"]["logits"], axis=1),
        present=taught, clean_logits=outputs["logits"], consistency_weight=2.0,
    )  # fmt: skip
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert float(metrics["consistency"]) == pytest.approx(float(terms["consistency"]), rel=1e-4)
    assert float(metrics["consistency"]) > 0


def test_the_noise_has_the_size_of_its_modality():
    """Of two modalities that differ a thousandfold, each moves by a share of itself."""
    objective, batch = made(noise=0.5, hidden_widths=()), batch_of()
    outputs = {
        "video_embedding": 1000.0 * drawn(ROWS, WIDTHS["video"]),
        "audio_embedding": drawn(ROWS, WIDTHS["audio"]),
    }
    kernel = np.zeros((sum(WIDTHS.values()), CLASSES), np.float32)
    kernel[0, 0] = kernel[-1, 1] = 1.0  # the answer shows one feature of each
    layer = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(CLASSES)}
    moved = objective.apply(
        {"params": {"classifier": {"linear1": layer}}}, outputs, batch["row"], jnp.ones(ROWS, bool),
        True, method="transformed_logits", rngs={"draw": jax.random.key(0)},
    )  # fmt: skip
    for column, (name, place) in enumerate((("video_embedding", 0), ("audio_embedding", -1))):
        size = float(jnp.mean(jnp.abs(outputs[name])))
        steps = np.asarray(moved[:, column] - outputs[name][:, place]) / (0.5 * size)
        assert len(np.unique(steps)) == ROWS
        assert 0.3 < np.sqrt((steps**2).mean()) < 2.5


def test_it_names_clips_where_the_teachers_classes_are_the_datas():
    outputs = {"logits": drawn(ROWS, CLASSES)}
    assert made().label_logits(outputs) == made(("other",)).label_logits(outputs) == {}
    assert made(("teacher",)).label_logits(outputs) == {"joint": outputs["logits"]}
    alone = made(("teacher",), modalities=("audio",))
    assert alone.label_logits(outputs) == {"audio": outputs["logits"]}


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match=r"set objectives\.mke\.noise too"):
        started(made(consistency_weight=1.0))
    with pytest.raises(UsageError, match=r"modalities.*'sound'"):
        made(modalities=("sound",)).reads()
    with pytest.raises(UsageError, match="modalities is empty"):
        made(modalities=()).reads()


def test_some_steps_come_nearer_to_what_the_teacher_says():
    config = small_config("mke", precision="float32")
    config.optimizer.learning_rate = 0.1
    losses, _ = train(config, batches(config, 1) * 12, 1)
    assert losses[-1] < 0.8 * losses[0]
