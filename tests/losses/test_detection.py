"""The detector's loss against loops over anchors, with the released formulas of probabilities."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.detection import detection_loss, focal_loss

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 1, 0, 1], bool)
# Of the last picture no box is known, of the second the box is overlapped by no anchor by half.
KNOWN = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]], bool)
NUM_CLASSES = 3


@partial(jax.jit, static_argnames="least_probability")
def detect(logits, offsets, present=PRESENT, **truth):
    def forward(logits, offsets):
        return detection_loss(logits, offsets, present=jnp.asarray(present), **truth)

    return jax.value_and_grad(forward, (0, 1), has_aux=True)(logits, offsets)


def example(dtype: type = np.float64):
    random = np.random.default_rng(0)
    corners = random.uniform(0, 40, (20, 2))
    anchors = np.concatenate([corners, corners + random.uniform(8, 24, (20, 2))], axis=1)
    boxes = np.zeros((4, 3, 4))
    boxes[0, :2] = anchors[[3, 7]] + random.uniform(-2, 2, (2, 4))
    boxes[1, 0] = [0, 0, 60, 60]
    boxes[2] = anchors[:3]
    labels = np.array([[1, 2, 0], [0, 0, 0], [0, 1, 2], [0, 0, 0]], np.int32)
    logits, offsets = (3 * random.standard_normal((4, 20, size)) for size in (NUM_CLASSES, 4))
    truth = {"anchors": anchors.astype(dtype), "boxes": boxes.astype(dtype), "labels": labels}
    return logits.astype(dtype), 0.2 * offsets.astype(dtype), {**truth, "known": KNOWN}


def naive_iou(first, second):
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(across, 0) * max(down, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def naive_focal(probability, there):
    if there:
        return -0.25 * (1 - probability) ** 2 * np.log(probability)
    return -0.75 * probability**2 * np.log(1 - probability)


def naive_offsets(anchor, box):
    size, anchor_size = box[2:] - box[:2], anchor[2:] - anchor[:2]
    middle, anchor_middle = (box[:2] + box[2:]) / 2, (anchor[:2] + anchor[2:]) / 2
    return np.concatenate([(middle - anchor_middle) / anchor_size, np.log(size / anchor_size)])


def naive(logits, offsets, truth, least_probability=0.0):
    """(mean classification loss, mean regression loss, mean number of positive anchors)."""
    results = []
    for i in np.flatnonzero(PRESENT):
        classification, regression, num_positives = 0.0, 0.0, 0
        known = np.flatnonzero(KNOWN[i])
        for a, anchor in enumerate(truth["anchors"]):
            overlap = [naive_iou(anchor, truth["boxes"][i, m]) for m in known]
            best = max(overlap, default=0.0)
            if 0.4 <= best < 0.5:
                continue
            there = np.zeros(NUM_CLASSES, bool)
            if best >= 0.5:
                box = known[np.argmax(overlap)]
                there[truth["labels"][i, box]] = True
                num_positives += 1
                for d in np.abs(offsets[i, a] - naive_offsets(anchor, truth["boxes"][i, box])):
                    regression += (4.5 * d**2 if d <= 1 / 9 else d - 1 / 18) / 4
            probability = 1 / (1 + np.exp(-logits[i, a]))
            probability = probability.clip(least_probability, 1 - least_probability)
            classification += sum(map(naive_focal, probability, there))
        divisor = max(num_positives, 1)
        results.append((classification / divisor, regression / divisor, num_positives))
    return np.mean(results, axis=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("least_probability", [0.0, 0.05])
def test_equals_loops(least_probability):
    logits, offsets, truth = example()
    (loss, parts), _ = detect(logits, offsets, least_probability=least_probability, **truth)
    classification, regression, num_positives = naive(logits, offsets, truth, least_probability)
    assert num_positives * PRESENT.sum() > 2
    np.testing.assert_allclose(parts["classification_loss"], classification, rtol=1e-10)
    np.testing.assert_allclose(parts["regression_loss"], regression, rtol=1e-10)
    np.testing.assert_allclose(parts["num_positive_anchors"], num_positives)
    np.testing.assert_allclose(loss, classification + regression, rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_gradients_equal_differences_of_the_loops():
    logits, offsets, truth = example()
    _, gradients = detect(logits, offsets, **truth)
    step = 1e-6
    for array, gradient in zip((logits, offsets), gradients, strict=True):
        flat = np.abs(gradient).ravel()
        places = [*np.argsort(flat)[-6:], 0, array.size - 1]
        for place in (np.unravel_index(p, array.shape) for p in places):
            values = []
            for sign in (1, -1):
                kept, array[place] = array[place], array[place] + sign * step
                values.append(naive(logits, offsets, truth)[:2].sum())
                array[place] = kept
            difference = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose(gradient[place], difference, atol=1e-8)
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


def test_an_object_called_impossible_is_learnt_only_without_the_clamp():
    logits, offsets, truth = example(np.float32)
    logits[:] = -30.0
    (loss, _), (free, _) = detect(logits, offsets, **truth)
    _, (clamped, _) = detect(logits, offsets, least_probability=1e-4, **truth)
    assert np.isfinite(loss)
    assert free.min() < -0.02
    np.testing.assert_array_equal(clamped, 0.0)


def test_absent_pictures_and_unknown_boxes_may_hold_anything():
    logits, offsets, truth = example(np.float32)
    expected = detect(logits, offsets, **truth)
    assert np.isfinite(expected[0][0])
    for filling in (np.nan, np.inf, -1.0, 1e6):
        arrays = [x.copy() for x in (logits, offsets)]
        for x in arrays:
            x[~PRESENT] = filling
        boxes, labels = truth["boxes"].copy(), truth["labels"].copy()
        boxes[~KNOWN | ~PRESENT[:, None]] = filling
        labels[~KNOWN | ~PRESENT[:, None]] = -1
        result = detect(*arrays, **{**truth, "boxes": boxes, "labels": labels})
        jax.tree.map(np.testing.assert_array_equal, result, expected)


def test_nothing_to_learn_from_is_finite():
    logits, offsets, truth = example(np.float32)
    (loss, parts), gradients = detect(logits, offsets, np.zeros(4, bool), **truth)
    assert loss == parts["num_positive_anchors"] == 0.0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0.0)
    # Without objects all anchors are background, of which a sure detector has no loss.
    empty = {**truth, "known": np.zeros_like(KNOWN)}
    (loss, parts), _ = detect(np.full_like(logits, -30), offsets, **empty)
    np.testing.assert_allclose(loss, 0.0, atol=1e-6)
    (loss, parts), gradients = detect(logits, offsets, **empty)
    assert loss == parts["classification_loss"] > 0.0
    np.testing.assert_array_equal(gradients[1], 0.0)
    for value in (100.0, -100.0):
        (loss, _), gradients = detect(np.full_like(logits, value), offsets, **truth)
        assert np.isfinite(loss)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.usefixtures("float64")
def test_without_focus_and_balance_it_is_half_the_cross_entropy():
    logits = jnp.linspace(-5, 5, 11)
    for there in (True, False):
        found = focal_loss(logits, jnp.full(11, there), alpha=0.5, gamma=0.0)
        expected = 0.5 * np.log1p(np.exp(-logits if there else logits))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bf16_is_computed_in_float32():
    logits, offsets, truth = example(np.float32)
    narrow = [jnp.asarray(x, jnp.bfloat16) for x in (logits, offsets)]
    (loss, _), _ = detect(*narrow, **truth)
    assert loss.dtype == jnp.float32
    (wide, _), _ = detect(*(x.astype(jnp.float32) for x in narrow), **truth)
    np.testing.assert_array_equal(loss, wide)
