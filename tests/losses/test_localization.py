"""Multiple-instance contrast against loops in numpy, one position at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.contrastive import symmetric_info_nce
from avssl.losses.localization import multiple_instance_loss, position_cosines, sounding_map

pytestmark = pytest.mark.usefixtures("strict_dtypes")
INDEX = np.array([4, 7, 4, 1, 9])
PRESENT = np.array([1, 1, 1, 0, 1], bool)
TEMPERATURE = 0.2

loss_of = jax.jit(multiple_instance_loss)
map_of = jax.jit(sounding_map)
gradient_of = jax.jit(
    jax.value_and_grad(lambda *a, **k: multiple_instance_loss(*a, **k)[0], (0, 1))
)


def maps(num: int = 5, positions: int = 6, dim: int = 4, seed: int = 0):
    random = np.random.default_rng(seed)
    return random.standard_normal((num, positions, dim)), random.standard_normal((num, dim))


def masks(index=INDEX, present=PRESENT) -> dict:
    return {"index": jnp.asarray(index, jnp.int32), "present": jnp.asarray(present)}


def naive(video, audio, index=INDEX, present=PRESENT):
    """(loss, share of videos whose own sound is the nearest)."""
    nearest = np.full((len(audio), len(audio)), -np.inf)
    for i, j in np.ndindex(nearest.shape):
        for vector in video[i]:
            cosine = vector @ audio[j] / np.linalg.norm(vector) / np.linalg.norm(audio[j])
            nearest[i, j] = max(nearest[i, j], cosine)
    losses, first = [], []
    for i in np.flatnonzero(present):
        rivals = [j for j in np.flatnonzero(present) if index[j] != index[i]]
        loss = 0.0
        for row in (nearest[i], nearest[:, i]):
            logits = row[[i, *rivals]] / TEMPERATURE
            loss += np.log(np.exp(logits).sum()) - logits[0]
        losses.append(loss)
        first.append(nearest[i, i] > nearest[i, rivals].max())
    return np.mean(losses), np.mean(first)


@pytest.mark.usefixtures("float64")
def test_equals_loops():
    video, audio = maps()
    loss, metrics = loss_of(
        jnp.asarray(video), jnp.asarray(audio), temperature=TEMPERATURE, **masks()
    )
    expected, first = naive(video, audio)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(metrics["video_to_audio_top1"], first)
    assert int(metrics["num_pairs"]) == PRESENT.sum()


@pytest.mark.usefixtures("float64")
def test_gradient_equals_differences_of_the_loops():
    video, audio = maps()
    _, gradients = gradient_of(
        jnp.asarray(video), jnp.asarray(audio), temperature=TEMPERATURE, **masks()
    )
    step = 1e-6
    touched = 0
    for place in np.ndindex(video.shape):
        moved = [video.copy(), video.copy()]
        for sign, one in zip((1, -1), moved, strict=True):
            one[place] += sign * step
        difference = (naive(moved[0], audio)[0] - naive(moved[1], audio)[0]) / (2 * step)
        np.testing.assert_allclose(gradients[0][place], difference, atol=1e-8)
        touched += difference != 0
    # Only the nearest positions are moved.
    assert 0 < touched < PRESENT.sum() * video[0].size
    for gradient in gradients:
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


@pytest.mark.usefixtures("float64")
def test_of_one_position_it_is_twice_info_nce():
    video, audio = maps(positions=1)
    video, audio = jnp.asarray(video), jnp.asarray(audio)
    loss, metrics = loss_of(video, audio, temperature=TEMPERATURE, **masks())
    half, expected = jax.jit(symmetric_info_nce)(
        video[:, 0], audio, temperature=TEMPERATURE, **masks()
    )
    np.testing.assert_allclose(loss, 2 * half, rtol=1e-12)
    jax.tree.map(np.testing.assert_allclose, metrics, expected)


def test_the_order_of_positions_does_not_matter():
    video, audio = (jnp.asarray(x, jnp.float32) for x in maps())
    loss, _ = loss_of(video, audio, **masks())
    np.testing.assert_allclose(loss_of(video[:, ::-1], audio, **masks())[0], loss, rtol=1e-6)


def test_the_map_is_hot_where_the_sound_is():
    video, audio = (jnp.asarray(x, jnp.float32) for x in maps())
    video = video.at[:, 3].set(5 * audio)
    found = map_of(video, audio)
    np.testing.assert_array_equal(jnp.argmax(found, axis=1), 3)
    np.testing.assert_allclose(found[:, 3], 1.0, rtol=1e-6)
    every = np.asarray(jax.jit(position_cosines)(video, audio))
    np.testing.assert_allclose(np.diagonal(every).T, found, rtol=1e-5, atol=1e-6)


def test_absent_rows_may_hold_anything():
    video, audio = (x.astype(np.float32) for x in maps())
    expected = gradient_of(video, audio, **masks())
    assert np.isfinite(expected[0])
    for filling in (np.nan, np.inf, 0.0, 1e6):
        filled = [x.copy() for x in (video, audio)]
        for x in filled:
            x[~PRESENT] = filling
        jax.tree.map(np.testing.assert_array_equal, gradient_of(*filled, **masks()), expected)


def test_nothing_to_learn_from_is_finite():
    video, audio = (x.astype(np.float32) for x in maps())
    nobody, one_record = masks(present=np.zeros(5, bool)), masks(index=np.zeros(5, int))
    for batch in (nobody, one_record):
        loss, gradients = gradient_of(video, audio, **batch)
        assert loss == 0.0
        for gradient in gradients:
            np.testing.assert_array_equal(gradient, 0.0)
    for value in (0.0, 3.0):
        loss, gradients = gradient_of(
            np.full_like(video, value), np.full_like(audio, value), **masks()
        )
        # Each present row tells its own apart from what rivals it has: 2 of 4, 3 of 4.
        rivals = [(PRESENT & (own != INDEX)).sum() for own in INDEX[PRESENT]]
        np.testing.assert_allclose(loss, 2 * np.mean(np.log1p(rivals)), rtol=1e-6)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_bf16_is_computed_in_float32():
    video, audio = (jnp.asarray(x, jnp.bfloat16) for x in maps())
    loss, _ = loss_of(video, audio, **masks())
    assert loss.dtype == jnp.float32
    wide = loss_of(video.astype(jnp.float32), audio.astype(jnp.float32), **masks())[0]
    np.testing.assert_array_equal(loss, wide)
