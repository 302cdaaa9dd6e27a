"""AVSA's losses against loops in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.contrastive import symmetric_info_nce
from avssl.losses.spatial import (
    MODES,
    contrasted_viewpoints,
    spatial_alignment_loss,
    viewpoint_info_nce,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
INDEX = np.array([4, 7, 4, 1, 9, 7])
PRESENT = np.array([1, 1, 1, 0, 1, 1], bool)
BATCHES = {
    "plain": (np.arange(6), np.ones(6, bool)),
    "duplicates": (INDEX, np.ones(6, bool)),
    "absent": (np.arange(6), PRESENT),
    "both": (INDEX, PRESENT),
    "one record only": (np.zeros(6, int), np.ones(6, bool)),
}

info_nce = jax.jit(viewpoint_info_nce, static_argnames="mode")
alignment = jax.jit(spatial_alignment_loss, static_argnames="mode")


def embeddings(num_viewpoints: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.standard_normal((6, num_viewpoints, 5))
    return target + random.standard_normal(target.shape), target


def naive(prediction, target, mode, temperature, index, present):
    """(loss, clip_top1, viewpoint_top1), one pool at a time."""
    losses, clip_hits, viewpoint_hits = [], [], []
    for i in np.flatnonzero(present):
        for j in range(prediction.shape[1]):

            def logit(k, at, i=i, j=j):
                one, other = prediction[i, j], target[k, at]
                lengths = np.linalg.norm(one) * np.linalg.norm(other)
                return one @ other / lengths / temperature

            others = [logit(i, at) for at in range(prediction.shape[1]) if at != j]
            clips = [logit(k, j) for k in np.flatnonzero(present) if index[k] != index[i]]
            if mode == "hard":
                clips = []
            own = logit(i, j)
            pool = np.exp(np.array([own, *others, *clips]))
            losses.append(np.log(pool.sum()) - own)
            clip_hits.append(all(own > rival for rival in clips))
            viewpoint_hits.append(all(own > rival for rival in others))
    return np.mean(losses), np.mean(clip_hits), np.mean(viewpoint_hits)


def loss_of(prediction, target, mode, temperature=0.2, index=INDEX, present=PRESENT):
    return info_nce(
        jnp.asarray(prediction),
        jnp.asarray(target),
        mode=mode,
        temperature=temperature,
        index=jnp.asarray(index, jnp.int32),
        present=jnp.asarray(present),
    )


def drawn(mode, **kwargs):
    return embeddings(1 if mode == "avc" else 3, **kwargs)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("mode", MODES)
def test_equals_loops(mode, batch):
    prediction, target = drawn(mode)
    index, present = BATCHES[batch]
    loss, metrics = loss_of(prediction, target, mode, index=index, present=present)
    expected, clip_hits, viewpoint_hits = naive(prediction, target, mode, 0.2, index, present)
    np.testing.assert_allclose(loss, expected, rtol=1e-12, atol=1e-12)
    tops = {"clip_top1": clip_hits, "viewpoint_top1": viewpoint_hits}
    contrasted = {"avc": ["clip_top1"], "hard": ["viewpoint_top1"], "easy_hard": [*tops]}[mode]
    assert metrics.keys() == set(contrasted)
    for name in contrasted:
        np.testing.assert_allclose(metrics[name], tops[name])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mode", MODES)
def test_gradient_equals_differences_of_the_loops(mode):
    prediction, target = drawn(mode)
    gradients = jax.grad(lambda *both: loss_of(*both, mode)[0], (0, 1))(
        jnp.asarray(prediction), jnp.asarray(target)
    )
    step = 1e-6
    for side, gradient in enumerate(gradients):
        for clip, column in ((0, 0), (2, 3), (5, 4)):
            values = []
            for sign in (1, -1):
                both = [prediction.copy(), target.copy()]
                both[side][clip, -1, column] += sign * step
                values.append(naive(*both, mode, 0.2, INDEX, PRESENT)[0])
            difference = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose(gradient[clip, -1, column], difference, atol=1e-8)
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mode", MODES)
def test_absent_clips_may_hold_anything(mode):
    prediction, target = drawn(mode)

    def value(prediction, target):
        return jax.value_and_grad(lambda p, t: loss_of(p, t, mode)[0], (0, 1))(
            jnp.asarray(prediction), jnp.asarray(target)
        )

    expected = value(prediction, target)
    for filling in (np.nan, np.inf, 0.0, 1e6):
        others = [prediction.copy(), target.copy()]
        for other in others:
            other[~PRESENT] = filling
        jax.tree.map(np.testing.assert_array_equal, value(*others), expected)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_present_and_rows_of_zeros(mode):
    prediction, target = (x.astype(np.float32) for x in drawn(mode))
    slope = jax.value_and_grad(lambda p: loss_of(p, target, mode, present=np.zeros(6, bool))[0])
    loss, gradient = slope(jnp.asarray(prediction))
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
    prediction[0] = 0.0
    loss, gradient = jax.value_and_grad(lambda p: loss_of(p, target, mode, 1e-3)[0])(
        jnp.asarray(prediction)
    )
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_one_viewpoint_leaves_nothing_to_tell_apart():
    prediction, target = (x.astype(np.float32) for x in embeddings(1))
    loss, metrics = loss_of(prediction, target, "hard")
    np.testing.assert_allclose(loss, 0.0, atol=1e-6)
    assert metrics["viewpoint_top1"] == 1.0


@pytest.mark.usefixtures("float64")
def test_one_viewpoint_without_translation_is_info_nce_between_the_modalities():
    video, audio = (jnp.asarray(x) for x in embeddings(1))
    batch = {"index": jnp.asarray(INDEX), "present": jnp.asarray(PRESENT), "temperature": 0.2}
    for mode in ("avc", "easy_hard"):
        loss, metrics = alignment(
            video, audio, video_prediction=audio, audio_prediction=video, mode=mode, **batch
        )
        expected, tops = symmetric_info_nce(video[:, 0], audio[:, 0], **batch)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        for direction in ("video_to_audio", "audio_to_video"):
            assert metrics[f"{direction}_clip_top1"] == tops[f"{direction}_top1"]
        assert int(metrics["num_pairs"]) == PRESENT.sum()


def test_each_direction_has_half_the_weight():
    prediction, target = (jnp.asarray(x, jnp.float32) for x in embeddings())
    other_prediction, other_target = (jnp.asarray(x, jnp.float32) for x in embeddings(seed=1))
    batch = {"index": jnp.asarray(INDEX), "present": jnp.asarray(PRESENT), "temperature": 0.2}
    loss, metrics = alignment(
        target,
        other_target,
        video_prediction=prediction,
        audio_prediction=other_prediction,
        mode="hard",
        **batch,
    )
    to_video, video_tops = loss_of(prediction, target, "hard")
    to_audio, audio_tops = loss_of(other_prediction, other_target, "hard")
    np.testing.assert_allclose(loss, (to_video + to_audio) / 2, rtol=1e-6)
    assert metrics["audio_to_video_viewpoint_top1"] == video_tops["viewpoint_top1"]
    assert metrics["video_to_audio_viewpoint_top1"] == audio_tops["viewpoint_top1"]
    assert video_tops["viewpoint_top1"] != audio_tops["viewpoint_top1"]


def test_what_the_heads_see():
    embedding = jnp.asarray(embeddings()[0], jnp.float32)
    np.testing.assert_array_equal(
        contrasted_viewpoints(embedding, mode="avc"), np.max(embedding, axis=1, keepdims=True)
    )
    for mode in ("hard", "easy_hard"):
        np.testing.assert_array_equal(contrasted_viewpoints(embedding, mode=mode), embedding)
    with pytest.raises(ValueError, match="one viewpoint per clip, not 3"):
        loss_of(embedding, embedding, "avc")
    for function in (contrasted_viewpoints, partial(loss_of, embedding)):
        with pytest.raises(ValueError, match="easy_hard, not easy"):
            function(embedding, mode="easy")


def test_bf16_is_computed_in_float32():
    prediction, target = (jnp.asarray(x, jnp.bfloat16) for x in embeddings())
    loss, metrics = loss_of(prediction, target, "easy_hard")
    assert loss.dtype == jnp.float32
    assert all(metric.dtype == jnp.float32 for metric in metrics.values())
    wide = (x.astype(jnp.float32) for x in (prediction, target))
    np.testing.assert_array_equal(loss, loss_of(*wide, "easy_hard")[0])
