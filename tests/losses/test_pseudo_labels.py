"""Cross-entropy with cluster ids, for XDC and for SeLaVi's heads, and SeLaVi's schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.pseudo_labels import balanced_class_weight, pseudo_label_loss, two_modality_loss
from avssl.losses.self_labelling import (
    alignment_cost,
    head_groups,
    multi_head_loss,
    solve_steps,
    solve_times,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
LABELS = np.array([2, 0, -1, 1, 2, 2], np.int32)
PRESENT = np.array([1, 1, 1, 0, 1, 1], bool)
COUNTED = PRESENT & (LABELS >= 0)


def logits_of(num: int = 6, num_classes: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num, num_classes)).astype(np.float32)


def naive(logits, labels, counted, weight=None):
    losses, weights = [], []
    for row, label, counts in zip(logits.astype(np.float64), labels, counted, strict=True):
        if counts:
            losses.append(np.log(np.exp(row).sum()) - row[label])
            weights.append(1.0 if weight is None else weight[label])
    return np.average(losses, weights=weights)


@pytest.mark.parametrize("weight", [None, np.array([1.0, 5.0, 0.25], np.float32)])
def test_equals_loops(weight):
    logits = logits_of()
    loss, metrics = jax.jit(pseudo_label_loss)(
        jnp.asarray(logits),
        jnp.asarray(LABELS),
        present=jnp.asarray(PRESENT),
        class_weight=None if weight is None else jnp.asarray(weight),
    )
    np.testing.assert_allclose(loss, naive(logits, LABELS, COUNTED, weight), rtol=1e-6)
    hits = (np.argmax(logits, axis=1) == LABELS)[COUNTED]
    np.testing.assert_allclose(metrics["accuracy"], hits.mean())
    assert int(metrics["num_rows"]) == COUNTED.sum()


@pytest.mark.parametrize("filling", [np.nan, np.inf, -1e30])
def test_rows_that_do_not_count_may_hold_anything(filling):
    def loss(logits):
        return pseudo_label_loss(logits, jnp.asarray(LABELS), present=jnp.asarray(PRESENT))[0]

    filled = np.where(COUNTED[:, None], logits_of(), np.float32(filling))
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(filled))
    np.testing.assert_allclose(value, loss(jnp.asarray(logits_of())), rtol=1e-6)
    np.testing.assert_array_equal(gradient[~COUNTED], 0.0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("weight", [None, np.array([1.0, 5.0, 0.25], np.float32)])
def test_a_label_beyond_the_classes_is_none(weight):
    def compute(labels):
        return jax.value_and_grad(
            lambda logits: pseudo_label_loss(
                logits,
                labels,
                present=jnp.ones(6, bool),
                class_weight=None if weight is None else jnp.asarray(weight),
            ),
            has_aux=True,
        )(jnp.asarray(logits_of()))

    beyond = jnp.asarray([2, 0, 3, 1, 99, -7], jnp.int32)
    found, expected = compute(beyond), compute(jnp.where(beyond < 3, beyond, -1))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    (loss, metrics), gradient = found
    counted = np.array([1, 1, 0, 1, 0, 0], bool)
    np.testing.assert_allclose(loss, naive(logits_of(), beyond, counted, weight), rtol=1e-6)
    assert metrics["num_rows"] == 3
    np.testing.assert_array_equal(gradient[~counted], 0.0)


def test_no_rows_and_ties():
    zeros, labels = jnp.zeros((6, 3)), jnp.asarray(LABELS)
    loss, metrics = pseudo_label_loss(zeros, labels, present=jnp.zeros(6, bool))
    assert loss == 0.0
    assert metrics["accuracy"] == 0.0
    tied = pseudo_label_loss(zeros, labels, present=jnp.asarray(PRESENT))[1]
    assert tied["accuracy"] == 0.0
    weightless = pseudo_label_loss(
        zeros, labels, present=jnp.asarray(PRESENT), class_weight=jnp.zeros(3)
    )
    assert weightless[0] == 0.0


def test_balanced_weights_make_clusters_count_alike():
    sizes = np.array([8, 0, 1, 3], np.int32)
    weight = np.asarray(balanced_class_weight(jnp.asarray(sizes)))
    np.testing.assert_allclose(weight * sizes, [4.0, 0.0, 4.0, 4.0])
    np.testing.assert_array_equal(balanced_class_weight(jnp.zeros(3, jnp.int32)), 0.0)


def test_two_modalities_may_have_other_numbers_of_clusters():
    video, audio = logits_of(num_classes=3), logits_of(num_classes=5, seed=1)
    own = np.array([4, 0, 3, 2, -1, 1], np.int32)
    value, metrics = two_modality_loss(
        jnp.asarray(video),
        jnp.asarray(audio),
        video_targets=jnp.asarray(LABELS),
        audio_targets=jnp.asarray(own),
        video_present=jnp.asarray(PRESENT),
        audio_present=jnp.asarray(~PRESENT),
    )
    expected = naive(video, LABELS, COUNTED) + naive(audio, own, ~PRESENT & (own >= 0))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert metrics["audio_num_rows"] == 1.0


def test_heads_count_alike():
    video, audio = (np.stack([logits_of(seed=s + h) for h in (0, 1)]) for s in (0, 9))
    labels = np.stack([LABELS, np.array([0, -1, -1, 1, -1, 2], np.int32)], axis=1)
    value = multi_head_loss(
        jnp.asarray(video),
        jnp.asarray(audio),
        jnp.asarray(labels),
        video_present=jnp.asarray(PRESENT),
        audio_present=jnp.ones(6, bool),
    )[0]
    terms = [
        naive(side[head], labels[:, head], present & (labels[:, head] >= 0))
        for side, present in ((video, PRESENT), (audio, np.ones(6, bool)))
        for head in (0, 1)
    ]
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-6)


@pytest.mark.parametrize(("num_heads", "num_groups"), [(10, 2), (7, 3), (4, 4), (1, 1)])
def test_groups_are_even_and_drawn(num_heads, num_groups):
    groups = np.stack([head_groups(jax.random.key(k), num_heads, num_groups) for k in range(20)])
    counts = np.stack([np.bincount(row, minlength=num_groups) for row in groups])
    assert counts.min() == num_heads // num_groups
    assert counts.max() == -(-num_heads // num_groups)
    assert (groups != groups[0]).any() == (num_groups > 1)
    with pytest.raises(ValueError, match="heads into"):
        head_groups(jax.random.key(0), num_heads, num_heads + 1)


def test_schedule():
    times = solve_times(2700, num_solves=10, power=1.5)
    # (1/9)^1.5 = 1/27 and (4/9)^1.5 = 8/27.
    np.testing.assert_allclose([times[0], times[1], times[4], times[9]], [0, 100, 800, 2700])
    steps = solve_steps(2700, num_solves=10, power=1.5)
    assert len(steps) == 9
    assert steps[:2] == (0, 100)
    assert 800 in steps
    assert max(steps) < 2700
    # More solves than steps: one for each.
    assert solve_steps(5, num_solves=100) == (0, 1, 2, 3, 4)
    assert solve_steps(5, num_solves=1) == (0,)


def test_alignment_cost_equals_loops_and_skips_absent_rows():
    video, audio = logits_of(), logits_of(seed=4)
    expected = [
        [np.abs(video[PRESENT, i] - audio[PRESENT, j]).sum() for j in range(3)] for i in range(3)
    ]
    audio[~PRESENT] = np.nan
    cost = alignment_cost(jnp.asarray(video), jnp.asarray(audio), present=jnp.asarray(PRESENT))
    np.testing.assert_allclose(cost, expected, rtol=1e-5)
