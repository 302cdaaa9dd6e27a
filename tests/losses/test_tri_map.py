"""The tri-map loss against loops in numpy, with plain sums of sigmoids."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.tri_map import region_cosines, tri_map_loss

pytestmark = pytest.mark.usefixtures("strict_dtypes")
INDEX = np.array([4, 7, 4, 1, 9])
PRESENT = np.array([1, 1, 1, 0, 1], bool)
SOFT = {"sounding_from": 0.3, "background_below": 0.1, "softness": 0.2}
TEMPERATURE = 0.3

loss_of = jax.jit(tri_map_loss, static_argnames=("background", "released_diagonal"))
regions_of = jax.jit(region_cosines)


@partial(jax.jit, static_argnames="background")
def value_and_gradients(video, audio, **options):
    def forward(video, audio):
        return tri_map_loss(video, audio, **options)[0]

    return jax.value_and_grad(forward, (0, 1))(video, audio)


def maps(num: int = 5, positions: int = 6, dim: int = 4, seed: int = 1):
    random = np.random.default_rng(seed)
    return random.standard_normal((num, positions, dim)), random.standard_normal((num, dim))


def masks(index=INDEX, present=PRESENT) -> dict:
    return {"index": jnp.asarray(index, jnp.int32), "present": jnp.asarray(present)}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_regions(video, audio):
    num = len(audio)
    regions, quiet = np.zeros((num, num)), np.zeros(num)
    for i, j in np.ndindex(num, num):
        cosine = unit(video[i]) @ unit(audio[j])
        mask = sigmoid((cosine - SOFT["sounding_from"]) / SOFT["softness"])
        regions[i, j] = (mask * cosine).sum() / mask.sum()
        if i == j:
            mask = 1 - sigmoid((cosine - SOFT["background_below"]) / SOFT["softness"])
            quiet[i] = (mask * cosine).sum() / mask.sum()
    return regions, quiet


def naive(video, audio, background=True, released_diagonal=False, index=INDEX, present=PRESENT):
    """(loss, share of pictures whose own sound is nearest, share whose background is further)."""
    regions, quiet = naive_regions(video, audio)
    losses, first, above = [], [], []
    for i in np.flatnonzero(present):
        others = [regions[i, j] for j in np.flatnonzero(present) if index[j] != index[i]]
        logits = [regions[i, i], *others]
        logits += [quiet[i]] if background else []
        logits += [-99 * regions[i, i]] if released_diagonal else []
        logits = np.array(logits) / TEMPERATURE
        losses.append(np.log(np.exp(logits).sum()) - logits[0])
        first.append(regions[i, i] > max(others))
        above.append(regions[i, i] > quiet[i])
    return np.mean(losses), np.mean(first), np.mean(above)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("released_diagonal", [False, True], ids=["masked", "released"])
@pytest.mark.parametrize("background", [False, True], ids=["sounds", "background"])
def test_equals_loops(background, released_diagonal):
    video, audio = maps()
    options = {"background": background, "released_diagonal": released_diagonal}
    loss, metrics = loss_of(
        jnp.asarray(video),
        jnp.asarray(audio),
        temperature=TEMPERATURE,
        **options,
        **SOFT,
        **masks(),
    )
    expected, first, above = naive(video, audio, **options)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(metrics["video_to_audio_top1"], first)
    np.testing.assert_allclose(metrics["above_background"], above)
    assert int(metrics["num_pairs"]) == PRESENT.sum()


@pytest.mark.usefixtures("float64")
def test_gradient_equals_differences_of_the_loops():
    """Through the soft masks too."""
    video, audio = maps()
    _, gradients = value_and_gradients(
        jnp.asarray(video), jnp.asarray(audio), temperature=TEMPERATURE, **SOFT, **masks()
    )
    step = 1e-6
    for array, gradient in zip((video, audio), gradients, strict=True):
        for place in list(np.ndindex(array.shape))[::3]:
            values = []
            for sign in (1, -1):
                kept, array[place] = array[place], array[place] + sign * step
                values.append(naive(video, audio)[0])
                array[place] = kept
            difference = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose(gradient[place], difference, atol=1e-8)
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


def test_a_pair_that_points_away_explodes_only_as_released():
    video, audio = (x.astype(np.float32) for x in maps())
    video[1] = -audio[1]
    masked, released = (
        loss_of(video, audio, released_diagonal=flag, **masks())[0] for flag in (False, True)
    )
    # -99 times the cosine of -1, over 0.07, in one of four rows.
    np.testing.assert_allclose(released, 99 / 0.07 / 4, rtol=0.1)
    assert masked < 40


def test_a_sharp_threshold_far_off_is_finite():
    """The plain sums of weights would be 0 / 0."""
    video, audio = (x.astype(np.float32) for x in maps())
    regions, quiet = regions_of(
        jnp.asarray(video), jnp.asarray(audio),
        sounding_from=0.99, background_below=-0.99, softness=1e-3,
    )  # fmt: skip
    cosine = np.einsum("ind,jd->ijn", unit(video), unit(audio))
    # The largest and the smallest cosine are all that counts.
    np.testing.assert_allclose(regions, cosine.max(axis=2), atol=5e-3)
    np.testing.assert_allclose(quiet, np.diagonal(cosine).min(axis=0), atol=5e-3)
    loss, gradients = value_and_gradients(
        video, audio, sounding_from=0.99, background_below=-0.99, softness=1e-3, **masks()
    )
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_absent_rows_may_hold_anything():
    video, audio = (x.astype(np.float32) for x in maps())
    expected = value_and_gradients(video, audio, **masks())
    assert np.isfinite(expected[0])
    for filling in (np.nan, np.inf, 0.0, 1e6):
        filled = [x.copy() for x in (video, audio)]
        for x in filled:
            x[~PRESENT] = filling
        result = value_and_gradients(*filled, **masks())
        jax.tree.map(np.testing.assert_array_equal, result, expected)


@pytest.mark.parametrize("background", [False, True], ids=["sounds", "background"])
def test_nothing_to_learn_from_is_finite(background):
    video, audio = (x.astype(np.float32) for x in maps())
    options = {"background": background}
    nobody = value_and_gradients(video, audio, **options, **masks(present=np.zeros(5, bool)))
    assert nobody[0] == 0.0
    jax.tree.map(lambda gradient: np.testing.assert_array_equal(gradient, 0.0), nobody[1])
    alone, _ = value_and_gradients(video, audio, **options, **masks(index=np.zeros(5, int)))
    # Without another sound there is the background alone.
    assert (alone > 0.0) == background
    for value in (0.0, 3.0):
        flat = np.full_like(video, value), np.full_like(audio, value)
        loss, gradients = value_and_gradients(*flat, **options, **masks())
        rivals = [(PRESENT & (own != INDEX)).sum() + background for own in INDEX[PRESENT]]
        np.testing.assert_allclose(loss, np.mean(np.log1p(rivals)), rtol=1e-5)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_bf16_is_computed_in_float32():
    video, audio = (jnp.asarray(x, jnp.bfloat16) for x in maps())
    loss, _ = loss_of(video, audio, **masks())
    assert loss.dtype == jnp.float32
    wide = loss_of(video.astype(jnp.float32), audio.astype(jnp.float32), **masks())[0]
    np.testing.assert_array_equal(loss, wide)
