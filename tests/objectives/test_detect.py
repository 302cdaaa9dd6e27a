"""Detect: the loss is that of `losses/detection.py` on the boxes that the view says."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.data.views import build_view
from avssl.errors import UsageError
from avssl.losses.anchors import anchor_boxes
from avssl.losses.detection import detection_loss
from avssl.models.detector import anchor_outputs
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.model import without_views
from tests.objectives.detecting import ANCHOR, NUM_ANCHORS, ROWS, SIZE, heard, seen

VIEW = dict(modality="video", frames=1, fps=4.0, size=SIZE, objects=2)


def made(**keys):
    return build_objective("detect", {"agnostic": True, **keys})


def batch_of():
    """Row 0 has no object, row 1 has no picture, row 2 has two objects."""
    objects = np.tile(np.array([ANCHOR, (0, 0, 0, 0)], np.float32), (ROWS, 1, 1))
    objects[2, 1] = (0.0, 0.0, 0.4, 0.3)
    classes = np.full((ROWS, 2), -1, np.int32)
    classes[1:, 0] = 3
    classes[2, 1] = 0
    return {
        "present": {"video": jnp.arange(ROWS) != 1},
        "geometry": {"video": {"objects": jnp.asarray(objects), "classes": jnp.asarray(classes)}},
    }


def outcome_of(objective, features, batch, *, train=True):
    read = objective.detector_read
    outputs = objective.apply({}, {read: features}, batch, train=train, method="heads")
    return objective.apply({}, outputs, without_views(batch), train=train), outputs


def test_the_loss_is_that_of_the_boxes_of_the_view():
    batch, features = batch_of(), seen()
    outcome, _ = outcome_of(made(), features, batch)
    taps = {name: tap[:, 0] for name, tap in features.taps.items()}
    logits, offsets = anchor_outputs(taps, (2, 3))
    assert logits.shape == (ROWS, NUM_ANCHORS, 1)
    place = batch["geometry"]["video"]
    expected, metrics = detection_loss(
        logits, offsets, anchors=anchor_boxes(SIZE, SIZE, strides=(4, 8)),
        boxes=place["objects"] * SIZE, labels=jnp.zeros((ROWS, 2), jnp.int32),
        known=place["classes"] >= 0, present=batch["present"]["video"],
    )  # fmt: skip
    assert float(outcome.loss) == pytest.approx(float(expected), rel=1e-5)
    assert outcome.metrics.keys() == metrics.keys()
    assert float(outcome.metrics["num_positive_anchors"]) > 0
    for name, value in metrics.items():
        assert float(outcome.metrics[name]) == pytest.approx(float(value), rel=1e-5), name


def test_a_row_without_a_picture_learns_nothing():
    batch, features = batch_of(), seen()

    @jax.jit
    def loss(embedding, taps):
        return outcome_of(made(), Features(embedding, taps=taps), batch)[0].loss

    gradient = jax.grad(loss, argnums=1)(features.embedding, features.taps)
    classes = np.abs(gradient["classes3"]).reshape(ROWS, -1).sum(axis=1)
    assert classes[1] == 0
    assert (np.delete(classes, 1) > 0).all()


def test_what_is_found_is_what_the_heads_say():
    """Of a detector that is sure of one anchor in each picture, moved a little."""
    features = seen()
    taps = {name: jnp.zeros_like(tap) for name, tap in features.taps.items()}
    for level in (2, 3):
        taps[f"classes{level}"] -= 10.0
    taps["classes3"] = taps["classes3"].at[:, 0, 1, 1, 0].set(3.0)
    taps["offsets3"] = taps["offsets3"].at[:, 0, 1, 1, 0].set(-0.125)
    outputs = outcome_of(made(), Features(features.embedding, taps=taps), batch_of(), train=False)[
        1
    ]
    boxes = outputs["boxes"]
    assert boxes.shape == (ROWS, 16, 6)
    # 32 pixels around (12 - 4, 12) are cut at the picture.
    np.testing.assert_allclose(boxes[0, 0, :4], [0, 0, 1, 1], atol=1e-6)
    assert float(boxes[0, 0, 4]) == pytest.approx(float(jax.nn.sigmoid(3.0)), rel=1e-5)
    assert not boxes[:, 1:].any()


@pytest.mark.parametrize(
    ("keys", "features", "said"),
    [
        ({}, Features(jnp.zeros((ROWS, 4))), "needs a detector: set encoders.video.name"),
        ({}, seen(num_classes=3), "encoders.video.num_classes=1"),
        ({"agnostic": False}, seen(frames=2), "views.video.frames=1"),
    ],
)
def test_what_is_wrong_is_named(keys, features, said):
    with pytest.raises(UsageError, match=said):
        outcome_of(made(**keys), features, batch_of())


def test_data_of_more_classes_than_the_detector_tells_are_refused():
    encoders = {"video": SimpleNamespace(num_classes=2)}
    made(agnostic=False).check_classes(2, encoders)
    made(agnostic=True).check_classes(3, encoders)
    with pytest.raises(
        UsageError, match=r"3 classes.*'video' tells 2: set encoders.video.num_classes=3"
    ):
        made(agnostic=False).check_classes(3, encoders)


def test_a_view_without_boxes_is_refused():
    view = build_view("video", VIEW | {"objects": None})
    with pytest.raises(UsageError, match=r"objectives.detect needs to know.*views.video.objects"):
        made().views({"video": view})


def test_a_detector_of_sounds_has_the_same_anchors():
    assert anchor_outputs(heard().taps, (2, 3))[0].shape == (ROWS, NUM_ANCHORS, 1)
