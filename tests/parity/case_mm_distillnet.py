"""MM-DistillNet: focal loss on anchors, alignment with several teachers, and its evaluator."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.data.boxes import Detections, Objects
from avssl.evaluate.detection import (
    RELEASED_IOU_THRESHOLDS,
    center_distances,
    class_scores,
    detection,
    hits,
)
from avssl.losses.detection import detection_loss
from avssl.losses.hints import attention
from avssl.losses.multi_teacher import joint_attention, multi_teacher_alignment

# The released order of anchors and offsets is y before x.
SWAPPED = np.array([1, 0, 3, 2])
# Of the picture, in pixels: stated by the note alone.
SIDE = 768


def check_mm_distillnet_focal(golden: dict[str, np.ndarray]):
    annotations = golden["annots_x1y1x2y2c"]
    truth = {
        "anchors": jnp.asarray(golden["anchors_y1x1y2x2"][0][:, SWAPPED]),
        "boxes": jnp.asarray(annotations[..., :4]),
        "labels": jnp.asarray(annotations[..., 4], jnp.int32),
        "known": jnp.asarray(annotations[..., 4] != -1),
        "present": jnp.ones(len(annotations), bool),
    }

    def forward(probability, offsets, least_probability):
        # The golden's gradients are those of probabilities.
        logits = jnp.log(probability) - jnp.log1p(-probability)
        return detection_loss(
            logits, offsets[..., SWAPPED], least_probability=least_probability, **truth
        )

    probability = golden["cls_prob"]
    compute = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True), static_argnums=2)
    # Without a clamp the numbers are the same as long as no probability is beyond it.
    unclamped = [0.0] if probability.min() > 1e-4 and probability.max() < 1 - 1e-4 else []
    for least_probability in (1e-4, *unclamped):
        (_, parts), gradients = compute(
            jnp.asarray(probability), jnp.asarray(golden["reg"]), least_probability
        )
        np.testing.assert_allclose(parts["regression_loss"], golden["loss_reg"][0], rtol=1e-5)
        np.testing.assert_allclose(parts["classification_loss"], golden["loss_cls"][0], rtol=1e-5)
        for gradient, name in zip(gradients, ("grad_cls", "grad_reg"), strict=True):
            scale = np.abs(golden[name]).max()
            np.testing.assert_allclose(gradient, golden[name], rtol=1e-4, atol=1e-6 * scale)


def check_mm_distillnet_mta(golden: dict[str, np.ndarray]):
    num_levels, num_teachers = len(golden["loss3"]), 0
    while f"t{num_teachers}_0" in golden:
        num_teachers += 1
    names = [f"s{level}" for level in range(num_levels)]
    student = [channels_last(golden[name]) for name in names]
    teachers = [
        [channels_last(golden[f"t{teacher}_{level}"]) for level in range(num_levels)]
        for teacher in range(num_teachers)
    ]
    for name, found in attentions(student, teachers).items():
        np.testing.assert_allclose(found, golden[name], rtol=1e-5, err_msg=name)

    cases = {
        ("loss3", "grad3"): (teachers, 9.0, True),
        ("loss1", "grad1"): (teachers[:1], 9.0, True),
        ("loss_tensor_teacher", "grad1"): (teachers[:1], 9.0, True),
        ("loss3_T1", "grad3_T1"): (teachers, 1.0, True),
        ("nonofficial_logsoftmax_loss3", "nonofficial_logsoftmax_grad3"): (teachers, 9.0, False),
    }
    for (loss_name, gradient_name), (used, temperature, released) in cases.items():
        (loss, levels), gradients = alignment(student, used, temperature, released)
        for level, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
            # The repaired loss is what is left of two numbers near log(positions): float32 keeps
            # so much of it, here and in the golden.
            positions = golden[f"attn_{name}"].shape[1]
            rounding = 0.0 if released else np.finfo(np.float32).eps * np.log(positions)
            expected = golden[loss_name][level]
            np.testing.assert_allclose(levels[f"level_{level}"], expected, 1e-5, rounding)
            expected = golden[f"{gradient_name}_{name}"]
            np.testing.assert_allclose(
                np.moveaxis(gradient, -1, 1), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
            )
        if f"{loss_name}_sum" in golden:
            np.testing.assert_allclose(loss, golden[f"{loss_name}_sum"], rtol=1e-5)


@jax.jit
def attentions(student, teachers):
    present = jnp.ones(len(student[0]), bool)
    levels = enumerate(zip(student, *teachers, strict=True))
    return {
        name: found
        for level, (own, *others) in levels
        for name, found in (
            (f"attn_s{level}", attention(own, 2, present)),
            (f"joint_attn_t{level}", joint_attention(others, 2, present)),
        )
    }


@partial(jax.jit, static_argnums=3)
def alignment(student, teachers, temperature, released):
    def forward(student):
        present = jnp.ones(len(student[0]), bool)
        return multi_teacher_alignment(
            student, teachers, temperature=temperature, released=released, present=present
        )

    return jax.value_and_grad(forward, has_aux=True)(student)


def channels_last(array: np.ndarray) -> jax.Array:
    return jnp.asarray(np.moveaxis(array, 1, -1))


def check_mm_distillnet_eval(golden: dict[str, np.ndarray]):
    found, truth = [], []
    for rows in golden["preds_xyxy_score_cls"]:
        rows = rows[rows[:, 5] >= 0].astype(np.float64)
        found.append(Detections(rows[:, :4], rows[:, 5].astype(int), rows[:, 4]))
    for rows in golden["targets_xyxy_cls"]:
        rows = rows[rows[:, 4] >= 0].astype(np.float64)
        truth.append(Objects(rows[:, :4], rows[:, 4].astype(int)))

    np.testing.assert_allclose(golden["iou_thresholds"], RELEASED_IOU_THRESHOLDS, rtol=1e-12)
    precisions = []
    for threshold in RELEASED_IOU_THRESHOLDS:
        scores = class_scores(found, truth, iou_threshold=threshold, released=True)
        precisions.append(np.mean([one.average_precision for one in scores.values()]))
    np.testing.assert_allclose(precisions, golden["ap_per_iou"], rtol=1e-5)

    distances = center_distances(found, truth, width=SIDE, height=SIDE, released=True)
    np.testing.assert_allclose(distances[:, 0], golden["cd_x_per_image"], rtol=1e-5)
    np.testing.assert_allclose(distances[:, 1], golden["cd_y_per_image"], rtol=1e-5)

    # The official lists leave out pictures without objects.
    pairs = [(f, t) for f, t in zip(found, truth, strict=True) if len(t)]
    right = [hits(f, t, iou_threshold=0.5, released=True) for f, t in pairs]
    np.testing.assert_array_equal(np.concatenate(right), golden["tp50_tp"])
    np.testing.assert_allclose(np.concatenate([f.scores for f, _ in pairs]), golden["tp50_scores"])

    scores = detection(found, truth, width=SIDE, height=SIDE, released=True)
    np.testing.assert_allclose(scores["map"], golden["map_avg"], rtol=1e-5)
    np.testing.assert_allclose(scores["map_50"], golden["ap_per_iou"][0], rtol=1e-5)
    np.testing.assert_allclose(scores["precision_50"], golden["prec50"].mean(), rtol=1e-5)
    np.testing.assert_allclose(scores["recall_50"], golden["rec50"].mean(), rtol=1e-5)
    np.testing.assert_allclose(100 * scores["center_distance_x"], golden["CDx"], rtol=1e-5)
    np.testing.assert_allclose(100 * scores["center_distance_y"], golden["CDy"], rtol=1e-5)
