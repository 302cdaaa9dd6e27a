import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.anchors import anchor_boxes
from avssl.losses.detection import detection_loss
from avssl.losses.multi_teacher import multi_teacher_alignment
from avssl.models.detector import SmallDetectorAudio, SmallDetectorVideo, anchor_outputs
from tests.models.drawing import drawn

NARROW = {"widths": (4, 4, 4, 4), "pyramid_width": 4, "num_classes": 2, "levels": (3, 4)}


def test_outputs_stand_in_the_order_of_the_anchors():
    """Maps that say at each place where it is, and which anchor of how many."""
    levels = (3, 4)
    taps = {}
    for level in levels:
        stride = 2**level
        rows, columns = np.mgrid[: 32 // stride, : 64 // stride]
        middle = np.stack([columns, rows], axis=-1) * stride + stride / 2
        number = np.broadcast_to(np.arange(9.0)[:, None], (*rows.shape, 9, 1))
        said = np.concatenate(
            [np.repeat(middle[:, :, None], 9, axis=2), number, np.full_like(number, stride)],
            axis=-1,
        )
        taps[f"offsets{level}"] = jnp.asarray(said.reshape(1, *rows.shape, 36))
        taps[f"classes{level}"] = jnp.asarray(number.reshape(1, *rows.shape, 9))
    numbers, said = anchor_outputs(taps, levels)
    anchors = np.asarray(anchor_boxes(32, 64, strides=tuple(2**level for level in levels)))
    np.testing.assert_allclose(said[0, :, :2], (anchors[:, :2] + anchors[:, 2:]) / 2, rtol=1e-5)
    sides = (anchors[:, 2:] - anchors[:, :2]) / said[0, :, 3:] / 4
    first_cell = sides[:9]
    np.testing.assert_allclose(sides, first_cell[np.asarray(numbers[0, :, 0], int)], rtol=1e-5)


def test_a_student_learns_from_boxes_and_from_maps():
    """Every parameter has a gradient, of the losses it is made for; the maps are a teacher's."""
    student = SmallDetectorAudio(**NARROW, height=32, width=64)
    random = np.random.default_rng(0)
    heard = jnp.asarray(random.normal(size=(2, 20, 16, 2)), jnp.float32)
    variables = drawn(student, heard.shape)
    sizes = {3: (4, 8), 4: (2, 4)}
    seen = [jnp.asarray(random.normal(size=(2, *size, 4)), jnp.float32) for size in sizes.values()]
    anchors = anchor_boxes(32, 64, strides=(8, 16))
    present = jnp.array([True, True])

    def loss(params):
        features, _ = student.apply(
            variables | {"params": params}, heard, train=True, mutable=["batch_stats"]
        )
        logits, offsets = anchor_outputs(features.taps, student.levels)
        detection, metrics = detection_loss(
            logits,
            offsets,
            anchors=anchors,
            boxes=anchors[jnp.array([[100], [9 * 32 + 40]])] + 1.0,  # one of each level
            labels=jnp.array([[0], [1]]),
            known=jnp.array([[True], [True]]),
            present=present,
        )
        maps = [features.taps[f"level{level}"] for level in student.levels]
        alignment, _ = multi_teacher_alignment(maps, [seen], present=present)
        return detection + alignment, (metrics, logits, offsets)

    (value, (metrics, logits, offsets)), gradients = jax.jit(
        jax.value_and_grad(loss, has_aux=True)
    )(variables["params"])
    assert (logits.shape, offsets.shape) == ((2, len(anchors), 2), (2, len(anchors), 4))
    assert np.isfinite(value)
    assert metrics["num_positive_anchors"] >= 1
    flat = jax.tree_util.tree_leaves_with_path(gradients)
    dead = [jax.tree_util.keystr(path) for path, leaf in flat if not np.abs(leaf).max() > 0]
    # Only the backbone's last stage, which no level here reads.
    assert all(path.startswith("['backbone']['layer4_0']") for path in dead)
    assert len(dead) < len(flat) / 4


def test_levels_beyond_the_backbone():
    """Those of MM-DistillNet."""
    encoder = SmallDetectorVideo(levels=(3, 4, 5, 6, 7), num_fusions=2, head_depth=3)
    x = jax.ShapeDtypeStruct((1, 1, 128, 256, 1), jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x
    )
    assert features.taps["level7"].shape == (1, 1, 1, 2, 32)
    assert features.map.shape == (1, 1, 16, 32, 32)
    logits, offsets = jax.eval_shape(
        lambda taps: anchor_outputs(taps, encoder.levels), features.taps
    )
    count = 9 * sum(4**level for level in range(5)) * 2
    assert (logits.shape, offsets.shape) == ((1, 1, count, 1), (1, 1, count, 4))
    assert variables["params"]["classes"]["last"]["bias"].shape == (9,)


def test_nothing_says_at_first_that_there_is_an_object():
    encoder, x = SmallDetectorVideo(**NARROW), jnp.zeros((1, 1, 32, 32, 3))
    made = jax.jit(lambda x: encoder.init(jax.random.key(0), x, train=False)["params"])
    bias = made(x)["classes"]["last"]["bias"]
    np.testing.assert_allclose(jax.nn.sigmoid(bias), 0.01, rtol=1e-5)


@pytest.mark.parametrize(
    ("keys", "shape", "sentence"),
    [
        ({}, (1, 1, 32, 48, 3), "multiples of 32, not 32 x 48"),
        ({"levels": (3, 5)}, (1, 1, 32, 32, 3), r"follow each other.*not \(3, 5\)"),
        ({"levels": (6, 7)}, (1, 1, 128, 128, 3), r"from 2 to 5 on, not \(6, 7\)"),
    ],
)
def test_pictures_and_levels_that_do_not_fit(keys, shape, sentence):
    with pytest.raises(UsageError, match=sentence):
        drawn(SmallDetectorVideo(**keys), shape)
