"""Colour and volume: the draws, and what they do to the pixels."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from avssl.errors import UsageError
from avssl.signal.augment import audio_to_float, colour_jitter, video_to_float, volume

pytestmark = pytest.mark.usefixtures("strict_dtypes")
NOTHING = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
jitted = jax.jit(colour_jitter, static_argnames=tuple(NOTHING))


def keys_of(num: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), num)


def clips(num: int, low: float = 0.0, high: float = 1.0) -> jax.Array:
    values = np.random.default_rng(0).uniform(low, high, (num, 3, 6, 5, 3))
    return jnp.asarray(values, jnp.float32)


def jitter(video: jax.Array, keys: jax.Array, **amounts: float) -> np.ndarray:
    return np.asarray(jitted(video, keys, **(NOTHING | amounts)))


def test_integers_to_floats():
    pixels = jnp.asarray([0, 1, 128, 255], jnp.uint8)
    np.testing.assert_array_equal(
        video_to_float(pixels, jnp.float32), np.array([0, 1, 128, 255], np.float32) / 255
    )
    # Divided before it is rounded to 8 bits.
    assert video_to_float(pixels, jnp.bfloat16).dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        video_to_float(pixels, jnp.bfloat16),
        video_to_float(pixels, jnp.float32).astype(jnp.bfloat16),
    )
    samples = jnp.asarray([-32768, -1, 0, 32767], jnp.int16)
    np.testing.assert_array_equal(
        audio_to_float(samples, jnp.float32), np.array([-32768, -1, 0, 32767]) / 32768
    )


def test_amount_zero_costs_nothing():
    video, keys = clips(2), keys_of(2)
    assert not jax.make_jaxpr(lambda v, k: colour_jitter(v, k, **NOTHING))(video, keys).eqns
    assert not jax.make_jaxpr(lambda w, k: volume(w, k, amount=0))(video[:, :, 0, 0], keys).eqns
    only_brightness = jax.make_jaxpr(
        lambda v, k: colour_jitter(v, k, **(NOTHING | {"brightness": 0.4}))
    )(video, keys)
    assert str(only_brightness).count("random_fold_in") == 1


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_equals_pillow_with_the_drawn_factor(name: str):
    """The factor is read off one frame; then all frames must look as Pillow's do with that
    factor."""
    enhancer = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }[name]
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3, 16, 16, 3)).astype(np.uint8)
    video = video_to_float(jnp.asarray(pixels), jnp.float32)
    result = jitter(video, keys_of(4), **{name: 0.5})
    factors = []
    for clip, changed in zip(pixels, result, strict=True):
        pictures = [Image.fromarray(frame) for frame in clip]

        def distance(factor, frames, pictures=pictures, changed=changed):
            enhanced = [np.asarray(enhancer(pictures[i]).enhance(factor)) for i in frames]
            return np.abs(np.stack(enhanced) / 255 - changed[frames]).max()

        factor = min(np.linspace(0.5, 1.5, 501), key=lambda f: distance(f, [0]))
        # Pillow rounds to whole grey levels, and its mean grey too.
        assert distance(factor, [0, 1, 2]) < 2.1 / 255
        factors.append(factor)
    assert len(set(factors)) == 4


def test_hue_turns_the_colour_circle():
    video = clips(3, 0.05, 0.95)
    result = jitter(video, keys_of(3), hue=0.3)
    turns = []
    for clip, changed in zip(np.asarray(video), result, strict=True):
        before = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in clip.reshape(-1, 3).tolist()])
        after = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in changed.reshape(-1, 3).tolist()])
        np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=1e-5)
        turn = (after[:, 0] - before[:, 0] + 0.5) % 1 - 0.5
        np.testing.assert_allclose(turn, turn[0], atol=1e-4)
        turns.append(turn[0])
    assert np.abs(turns).max() < 0.3
    assert np.std(turns) > 0.01


def test_grey_has_no_hue():
    grey = jnp.broadcast_to(jnp.linspace(0.0, 1.0, 5)[None, :, None, None, None], (1, 5, 2, 2, 3))
    np.testing.assert_allclose(jitter(grey, keys_of(1), hue=0.5), grey, atol=1e-6)


def test_factors_fill_their_range():
    factors = (
        jitter(jnp.full((512, 1, 1, 1, 3), 0.5), keys_of(512), brightness=0.4)[:, 0, 0, 0, 0] / 0.5
    )
    assert 0.6 <= factors.min() < 0.62
    assert 1.38 < factors.max() <= 1.4 + 1e-6
    assert abs(factors.mean() - 1) < 0.03
    # An amount above 1 cannot make a factor negative.
    strong = (
        jitter(jnp.full((512, 1, 1, 1, 3), 0.25), keys_of(512), brightness=2.0)[:, 0, 0, 0, 0]
        / 0.25
    )
    assert 0 <= strong.min() < 0.05
    assert strong.max() > 2.9


def test_a_row_depends_on_its_key_alone():
    video, keys = clips(4), keys_of(4)
    amounts = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2}
    together = jitter(video, keys, **amounts)
    beside_others = jitter(video.at[1:].set(0.3), keys.at[1:].set(keys[0]), **amounts)
    np.testing.assert_allclose(beside_others[0], together[0], atol=1e-6)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        jitter(video[order], keys[order], **amounts), together[order], atol=1e-6
    )
    assert together.min() >= 0
    assert together.max() <= 1


def test_amounts_draw_apart():
    """Another amount switched on leaves a draw as it was."""
    video = jnp.full((6, 1, 4, 4, 3), 0.4)
    # Saturation and hue do nothing to grey (but for the rounded weights of grey).
    alone = jitter(video, keys_of(6), brightness=0.4)
    beside = jitter(video, keys_of(6), brightness=0.4, saturation=0.8, hue=0.3)
    np.testing.assert_allclose(beside, alone, atol=1e-4)


@pytest.mark.usefixtures("float64")
def test_all_precisions_draw_the_same():
    wide = jnp.asarray(clips(3), jnp.float64)
    amounts = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2}
    result = jitter(wide, keys_of(3), **amounts)
    assert result.dtype == np.float64
    np.testing.assert_allclose(
        jitter(wide.astype(jnp.float32), keys_of(3), **amounts), result, atol=1e-5
    )
    narrow = jitter(wide.astype(jnp.bfloat16), keys_of(3), **amounts)
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(narrow, np.float64), result, atol=0.05)


def test_volume():
    waveform = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (64, 10, 2)), jnp.float32)
    result = np.asarray(volume(waveform, keys_of(64), amount=0.1))
    gains = result / np.asarray(waveform)
    np.testing.assert_allclose(gains, np.broadcast_to(gains[:, :1, :1], gains.shape), rtol=1e-4)
    assert 0.9 <= gains.min() < 0.92
    assert 1.08 < gains.max() <= 1.1 + 1e-4


def test_impossible_amounts():
    with pytest.raises(UsageError, match="hue"):
        jitter(clips(1), keys_of(1), hue=0.6)
    with pytest.raises(UsageError, match="negative"):
        jitter(clips(1), keys_of(1), contrast=-0.1)
    with pytest.raises(UsageError, match="volume"):
        volume(jnp.zeros((1, 3, 1)), keys_of(1), amount=1.5)
