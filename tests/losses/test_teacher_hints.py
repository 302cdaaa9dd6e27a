"""Hints of teachers against numpy, with a bilinear resizing of single pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.localization import multiple_instance_loss
from avssl.losses.teacher_hints import (
    hinted_localization_loss,
    object_hint_loss,
    object_response,
    sound_hint_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 1, 1, 0, 1], bool)
UNSEEN = 2

sound_hint = jax.jit(sound_hint_loss, static_argnames="normalise_teacher")
object_hint = jax.jit(object_hint_loss)


@jax.jit
def total(video_map, audio, sound_teacher, object_teacher, present):
    def forward(video_map, audio, sound_teacher, object_teacher):
        return hinted_localization_loss(
            video_map, audio, sound_teacher=sound_teacher, object_teacher=object_teacher,
            index=jnp.arange(len(audio)), present=present,
        )  # fmt: skip

    return jax.value_and_grad(forward, (0, 1, 2, 3), has_aux=True)(
        video_map, audio, sound_teacher, object_teacher
    )


def example(num: int = 5, dtype: type = np.float64) -> list[np.ndarray]:
    """Map, sound, and both teachers; one attention is of a picture without objects."""
    random = np.random.default_rng(0)
    arrays = [
        random.standard_normal((num, 3, 4, 6)),
        random.standard_normal((num, 6)),
        np.abs(random.standard_normal((num, 6))),
        random.random((num, 7, 9)),
    ]
    arrays[3][UNSEEN, 2, 3] = np.nan
    return [x.astype(dtype) for x in arrays]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive_resize(picture, height, width):
    """Cell centres, nearest cells beyond the edge."""
    result = np.zeros((height, width))
    for row, column in np.ndindex(height, width):
        places = [
            np.clip((at + 0.5) * cells / size - 0.5, 0, cells - 1)
            for at, cells, size in zip((row, column), picture.shape, (height, width), strict=True)
        ]
        for i, j in np.ndindex(picture.shape):
            share = [max(0, 1 - abs(place - at)) for place, at in zip(places, (i, j), strict=True)]
            result[row, column] += share[0] * share[1] * picture[i, j]
    return result


def naive_object_hint(video_map, attention, present=PRESENT):
    errors = []
    for features, wanted, there in zip(video_map, attention, present, strict=True):
        if there and not np.isnan(wanted).any():
            channels = np.moveaxis(unit(features), -1, 0)
            resized = np.mean([naive_resize(one, *wanted.shape) for one in channels], axis=0)
            errors.append(np.mean((resized - wanted) ** 2))
    return np.mean(errors), len(errors)


@pytest.mark.usefixtures("float64")
def test_object_hint_equals_loops():
    """Where the mean over channels is taken after the resizing, as released."""
    video_map, _, _, attention = example()
    found, num = object_hint(jnp.asarray(video_map), jnp.asarray(attention), present=PRESENT)
    expected, expected_num = naive_object_hint(video_map, attention)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert int(num) == expected_num == PRESENT.sum() - 1


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("normalise_teacher", [False, True])
def test_sound_hint_equals_numpy(normalise_teacher):
    _, audio, teacher, _ = example()
    found, num = sound_hint(
        jnp.asarray(audio),
        jnp.asarray(teacher),
        normalise_teacher=normalise_teacher,
        present=PRESENT,
    )
    wanted = unit(teacher) if normalise_teacher else teacher
    np.testing.assert_allclose(found, np.mean((unit(audio) - wanted)[PRESENT] ** 2), rtol=1e-12)
    assert int(num) == PRESENT.sum()


@pytest.mark.usefixtures("float64")
def test_the_total_is_the_weighted_sum():
    arrays = example()
    (loss, metrics), gradients = total(*(jnp.asarray(x) for x in arrays), PRESENT)
    video_map, audio, sound_teacher, attention = arrays
    contrast, _ = jax.jit(multiple_instance_loss)(
        jnp.asarray(video_map.reshape(5, 12, 6)), jnp.asarray(audio),
        index=jnp.arange(5), present=jnp.asarray(PRESENT),
    )  # fmt: skip
    objects, num = naive_object_hint(video_map, attention)
    sound = np.mean((unit(audio) - sound_teacher)[PRESENT] ** 2)
    np.testing.assert_allclose(loss, contrast + 1e3 * sound + 1e5 * objects, rtol=1e-12)
    np.testing.assert_allclose(metrics["sound_hint_loss"], sound, rtol=1e-12)
    np.testing.assert_allclose(metrics["object_hint_loss"], objects, rtol=1e-12)
    assert int(metrics["num_object_hints"]) == num
    assert int(metrics["num_sound_hints"]) == PRESENT.sum()
    for gradient in gradients[:2]:
        np.testing.assert_array_equal(gradient[~PRESENT], 0.0)
        assert (np.abs(gradient[PRESENT]) > 0).any()
    for gradient in gradients[2:]:
        np.testing.assert_array_equal(gradient, 0.0)


def test_a_hint_that_is_met_costs_nothing():
    video_map, audio, *_ = (jnp.asarray(x) for x in example(dtype=np.float32))
    lengths = jnp.linalg.norm(video_map, axis=-1, keepdims=True)
    response = jnp.mean(video_map / lengths, axis=-1)
    assert object_hint(video_map, response, present=PRESENT)[0] < 1e-12
    # Of a teacher that is not scaled, never.
    for normalise_teacher, bound in ((True, 1e-12), (False, np.inf)):
        found, _ = sound_hint(
            audio, 5.0 * audio, normalise_teacher=normalise_teacher, present=PRESENT
        )
        assert found < bound
    assert found > 1.0


def test_absent_rows_may_hold_anything():
    arrays = example(dtype=np.float32)
    expected = total(*arrays, PRESENT)
    assert np.isfinite(expected[0][0])
    for filling in (np.nan, np.inf, 0.0, 1e6):
        filled = [x.copy() for x in arrays]
        for x in filled:
            x[~PRESENT] = filling
        jax.tree.map(np.testing.assert_array_equal, total(*filled, PRESENT), expected)


def test_without_hints_the_contrast_is_left():
    video_map, audio, sound_teacher, attention = example(dtype=np.float32)
    blind = np.full_like(attention, np.nan), np.full_like(sound_teacher, np.nan)
    (loss, metrics), gradients = total(video_map, audio, blind[1], blind[0], PRESENT)
    assert loss == metrics["localization_loss"] > 0.0
    assert metrics["num_sound_hints"] == metrics["num_object_hints"] == 0
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_nothing_to_learn_from_is_finite():
    arrays = example(dtype=np.float32)
    (loss, _), gradients = total(*arrays, np.zeros(5, bool))
    assert loss == 0.0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0.0)
    (loss, _), gradients = total(*(0 * x for x in arrays), PRESENT)
    np.testing.assert_allclose(loss, 2 * np.log(4), rtol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_narrow_student_and_a_stored_teacher_are_compared_in_float32():
    video_map, audio, *teachers = (jnp.asarray(x) for x in example(dtype=np.float32))
    narrow = [x.astype(jnp.bfloat16) for x in (video_map, audio)]
    (loss, _), _ = total(*narrow, *teachers, PRESENT)
    assert loss.dtype == jnp.float32
    (wide, _), _ = total(*(x.astype(jnp.float32) for x in narrow), *teachers, PRESENT)
    np.testing.assert_array_equal(loss, wide)


def test_frames_are_averaged_before_the_comparison():
    video_map, _, _, attention = example()
    frames = np.stack([video_map, np.roll(video_map, 1, axis=1)], axis=1)
    response = unit(frames).mean(axis=(1, 4))
    expected = np.mean(
        [
            np.mean((naive_resize(response[row], 7, 9) - attention[row]) ** 2)
            for row in np.flatnonzero(PRESENT & (np.arange(5) != UNSEEN))
        ]
    )
    loss, number = object_hint(frames, attention, present=PRESENT)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert number == 3


def test_the_response_of_a_teacher_is_the_scaled_mean_of_magnitudes():
    teacher = np.random.default_rng(0).standard_normal((4, 2, 3, 4, 5))
    teacher[1] = 0.0
    teacher[2, 0, 1, 1, 3] = np.nan
    response, found = jax.jit(object_response)(teacher)
    np.testing.assert_array_equal(found, [True, False, False, True])
    expected = np.abs(teacher[[0, 3]]).mean(axis=(1, 4))
    expected /= 625 * expected.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(response[np.array([0, 3])], expected, rtol=1e-5)
    assert not np.any(response[1:3])
    # Of 25 x 25 positions the sum is 1, as of attention.
    many = jax.jit(object_response)(np.ones((1, 25, 25, 2)))[0]
    np.testing.assert_allclose(np.sum(many), 1.0, rtol=1e-5)


def test_a_map_of_one_channel_is_a_response_already():
    teacher = np.random.default_rng(0).standard_normal((3, 2, 3, 4, 1))
    response, found = jax.jit(object_response)(teacher)
    np.testing.assert_allclose(response, teacher[..., 0].mean(axis=1), rtol=1e-5)
    assert found.all()
