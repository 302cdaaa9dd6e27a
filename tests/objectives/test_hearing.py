"""StereoSoundNet and MM-DistillNet: what teachers see becomes the boxes of one that hears."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.anchors import anchor_boxes
from avssl.losses.detection import detection_loss
from avssl.losses.multi_teacher import multi_teacher_alignment
from avssl.losses.ranking import ranking_loss
from avssl.models.detector import anchor_outputs, flat_attention
from avssl.objectives import build_objective
from avssl.train.model import without_views
from tests.objectives.detecting import ANCHOR, POSITIONS, ROWS, SIZE, heard, seen

BOXES, WIDTH = 3, 5
EYES = ("light", "warmth")
ABSENT = {"light": 0, "warmth": 3}


def told(*rows):
    """The list of a picture: places, scores and classes, filled up."""
    return np.array([*rows, *[(0.0,) * 6] * (BOXES - len(rows))], np.float32)


# One box of both, one that the surer teacher does not confirm, one below the score.
SAID = {
    "light": told((*ANCHOR, 0.9, 0), (0.0, 0.0, 0.3, 0.3, 0.2, 0)),
    "warmth": told((0.0, 0.0, 1.0, 0.95, 0.8, 0), (0.5, 0.5, 1.0, 1.0, 0.6, 0)),
}
TOGETHER = [ANCHOR, (0.5, 0.5, 1.0, 1.0)]


def batch_of(*teachers):
    """Row 1 has no sound, and each teacher is silent of a row of its own."""
    rows = jnp.arange(ROWS)
    seeing = {name: seen(seed) for seed, name in enumerate(teachers, 7)}
    targets = {
        name: {
            "boxes": jnp.asarray(np.tile(SAID[name], (ROWS, 1, 1))),
            "embedding": jnp.asarray(
                np.random.default_rng(3).normal(size=(ROWS, WIDTH)), jnp.float32
            ),
            "attention": flat_attention(seeing[name].taps),
        }
        for name in teachers
    }
    taught = {name: rows != ABSENT[name] for name in teachers}
    return {
        "present": {"audio": rows != 1},
        "index": rows,
        "taught": taught,
        "targets": {
            name: {
                kind: jnp.where(taught[name].reshape(-1, *(1,) * (x.ndim - 1)), x, 0.0)
                for kind, x in kinds.items()
            }
            for name, kinds in targets.items()
        },
    }  # fmt: skip


def made(name, *teachers, **keys):
    shapes = {"boxes": (BOXES, 6), "embedding": (WIDTH,), "attention": (POSITIONS,)}
    config = {"agnostic": True, "teachers": teachers, **keys}
    return build_objective(name, config, target_shapes=dict.fromkeys(teachers, shapes))


def ran(objective, features, batch, *, train=True):
    """(outcome, outputs, gradient of the loss)."""
    read = objective.audio_read
    variables = objective.init(jax.random.key(0), {read: features}, batch, method="initialise")

    @jax.jit
    def run(features):
        outputs, _ = objective.apply(
            variables, {read: features}, batch, train=train, method="heads", mutable=["batch_stats"]
        )
        outcome = objective.apply(variables, outputs, without_views(batch), train=train)
        return outcome.loss, (outcome, outputs)

    (_, (outcome, outputs)), gradient = jax.value_and_grad(run, has_aux=True)(features)
    return outcome, outputs, gradient


def detection_of(features, boxes, present):
    """The loss where every row is told the same boxes."""
    logits, offsets = anchor_outputs(features.taps, (2, 3))
    boxes = jnp.asarray(np.tile(np.array(boxes, np.float32) * SIZE, (ROWS, 1, 1)))
    return detection_loss(
        logits, offsets, anchors=anchor_boxes(SIZE, SIZE, strides=(4, 8)), boxes=boxes,
        labels=jnp.zeros(boxes.shape[:2], jnp.int32), known=jnp.ones(boxes.shape[:2], bool),
        present=present,
    )[0]  # fmt: skip


def test_stereo_soundnet_is_detection_and_ranking():
    objective, batch, features = made("stereo_soundnet", "light"), batch_of("light"), heard()
    outcome, outputs, gradient = ran(objective, features, batch)
    taught = (jnp.arange(ROWS) != 0) & (jnp.arange(ROWS) != 1)
    detection = detection_of(features, [ANCHOR], taught)
    ranking, _ = ranking_loss(
        outputs["answer"], batch["targets"]["light"]["embedding"], index=batch["index"], present=taught
    )  # fmt: skip
    assert float(outcome.loss) == pytest.approx(float(detection + ranking), rel=1e-5)
    assert float(ranking) > 0
    assert float(outcome.metrics["taught"]) == ROWS - 2
    # The second box is not sure enough.
    assert float(outcome.metrics["num_told_boxes"]) == 1
    moved = np.abs(gradient.taps["classes3"]).reshape(ROWS, -1).sum(axis=1)
    assert (moved > 0).tolist() == taught.tolist()


def test_without_ranking_no_embedding_is_asked_for():
    objective, batch = made("stereo_soundnet", "light", ranking_weight=0.0), batch_of("light")
    assert [target.kind for target in objective.targets()] == ["boxes"]
    outcome, outputs, _ = ran(objective, heard(), batch)
    assert "answer" not in outputs
    assert "ranking_loss" not in outcome.metrics


def test_boxes_of_several_teachers_become_one_list():
    objective, batch, features = made("mm_distillnet", *EYES), batch_of(*EYES), heard()
    listed = objective.apply({}, batch, method="told")
    # Of the row that both see: the surer of two that overlap, and the one that is left.
    np.testing.assert_allclose(listed[2, :2, :4], TOGETHER)
    np.testing.assert_allclose(listed[2, :, 4].sum(), 0.9 + 0.6, rtol=1e-6)
    # Where the first teacher is silent, both boxes of the second.
    np.testing.assert_allclose(listed[0, :2, 4], [0.8, 0.6])
    outcome, _, _ = ran(objective, features, batch)
    assert float(outcome.metrics["taught"]) == ROWS - 1


@pytest.mark.parametrize("released", [False, True])
def test_the_alignment_is_that_of_whole_maps(released):
    """The maps' squares are told, and the loss is that of the maps themselves."""
    objective = made("mm_distillnet", *EYES, released=released, alignment_temperature=0.1)
    batch, features = batch_of(*EYES), heard()
    outcome, _, _ = ran(objective, features, batch)
    present = jnp.array([False, False, True, False, True, True])
    levels = [f"level{level}" for level in (2, 3)]
    expected, _ = multi_teacher_alignment(
        [features.taps[level] for level in levels],
        [[seen(seed).taps[level][:, 0] for level in levels] for seed in (7, 8)],
        temperature=0.1, released=released, present=present,
    )  # fmt: skip
    assert float(outcome.metrics["alignment"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(outcome.metrics["aligned"]) == 3
    boxes = outcome.metrics["classification_loss"] + outcome.metrics["regression_loss"]
    assert float(outcome.loss) == pytest.approx(float(boxes + 0.005 * expected), rel=1e-5)


def halves(batch, *, mixed):
    """Rows in pairs, of which those of `mixed` are one sound; the partner of each sees a third box."""
    other = np.tile(told((0.0, 0.5, 0.4, 1.0, 0.7, 0)), (ROWS, 1, 1))
    mixture = {
        "share": jnp.where(jnp.isin(jnp.arange(ROWS), jnp.array(mixed)), 0.5, 1.0),
        "boxes": dict.fromkeys(batch["targets"], jnp.asarray(other)),
    }
    return {**batch, "mixture": mixture}


def test_a_mixture_of_two_sounds_has_the_boxes_of_both_clips():
    objective, plain = made("mm_distillnet", *EYES), batch_of(*EYES)
    batch = halves(plain, mixed=[4, 5])
    listed, alone = (objective.apply({}, each, method="told") for each in (batch, plain))
    np.testing.assert_array_equal(listed[:4], alone[:4])
    # Both teachers say the third, which is listed once.
    np.testing.assert_allclose(listed[4, :3, 4], [0.9, 0.7, 0.6], rtol=1e-6)
    np.testing.assert_allclose(listed[4, 1, :4], [0.0, 0.5, 0.4, 1.0])
    assert not listed[4, 3:].any()
    outcome, _, gradient = ran(objective, heard(), batch)
    assert float(outcome.metrics["taught"]) == ROWS - 1
    # Row 2 alone is of one clip, heard, and seen by both.
    assert float(outcome.metrics["aligned"]) == 1
    assert np.abs(gradient.taps["classes3"][4]).sum() > 0


def test_mixtures_are_not_ranked():
    objective, plain = made("stereo_soundnet", "light"), batch_of("light")
    batch = halves(plain, mixed=[2, 3])
    outcome, outputs, _ = ran(objective, heard(), batch)
    ranking, _ = ranking_loss(
        outputs["answer"], batch["targets"]["light"]["embedding"], index=batch["index"],
        present=jnp.arange(ROWS) > 3,
    )  # fmt: skip
    assert float(outcome.metrics["ranking_loss"]) == pytest.approx(float(ranking), rel=1e-5)


def test_in_evaluation_boxes_are_found_without_any_teacher():
    objective, batch = made("mm_distillnet", *EYES), batch_of(*EYES)
    silent = {
        "targets": jax.tree.map(jnp.zeros_like, batch["targets"]),
        "taught": jax.tree.map(jnp.zeros_like, batch["taught"]),
    }
    outcome, outputs, _ = ran(objective, heard(), {**batch, **silent}, train=False)
    assert float(outcome.loss) == 0
    assert outputs["boxes"].shape == (ROWS, 16, 6)


@pytest.mark.parametrize(
    ("name", "teachers", "features", "said"),
    [
        ("stereo_soundnet", EYES, heard(), "has one teacher, not 2: mm_distillnet takes several"),
        ("mm_distillnet", ("light",), heard(height=32), "levels have 40 positions, those of.*'light' 20"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(name, teachers, features, said):
    with pytest.raises(UsageError, match=said):
        ran(made(name, *teachers), features, batch_of(*teachers))


@pytest.mark.parametrize("teachers", [(), ("light", "light")])
def test_no_teacher_and_one_twice_are_refused(teachers):
    said = r"objectives\.mm_distillnet\.teachers must name one teacher or several different ones"
    with pytest.raises(UsageError, match=said):
        made("mm_distillnet", *teachers).targets()
