"""SpecAugment: how wide and where stripes are, by row; what fills them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.signal.stripes import mask_stripes

pytestmark = pytest.mark.usefixtures("strict_dtypes")
ROWS, FRAMES, BANDS = 400, 40, 16
jitted = jax.jit(mask_stripes, static_argnames=("time_masks", "frequency_masks"))


def spectrograms(num=ROWS, channels=1):
    values = np.random.default_rng(0).normal(size=(num, FRAMES, BANDS, channels))
    return jnp.asarray(values, jnp.float32)


def keys_of(num=ROWS, seed=0):
    return jax.random.split(jax.random.key(seed), num)


def hidden(x, **masks):
    return np.asarray(jitted(x, keys_of(len(x)), **masks) != x).any(axis=3)


def test_nothing_asked_for_costs_nothing():
    assert not jax.make_jaxpr(lambda x, k: mask_stripes(x, k))(spectrograms(2), keys_of(2)).eqns


@pytest.mark.parametrize(
    ("axis", "name", "size"), [(1, "time_masks", FRAMES), (2, "frequency_masks", BANDS)]
)
def test_one_stripe_through_the_whole_other_axis(axis, name, size):
    gone = hidden(spectrograms(), **{name: (1, 0.25)})
    along = gone.all(axis=3 - axis)
    np.testing.assert_array_equal(along, gone.any(axis=3 - axis))
    widths = along.sum(axis=1)
    # Uniform from nothing to a quarter of the axis, and in one piece.
    assert set(widths) == set(range(size // 4 + 1))
    counts = np.bincount(widths)
    assert counts.min() > 0.4 * counts.mean()
    assert np.abs(np.diff(along.astype(int), axis=1)).sum(axis=1).max() <= 2
    # The ends are reached.
    assert along[:, 0].any()
    assert along[:, -1].any()


def test_several_stripes_of_both_kinds():
    gone = hidden(spectrograms(), time_masks=(2, 0.2), frequency_masks=(2, 0.5))
    time, frequency = gone.all(axis=2), gone.all(axis=1)
    np.testing.assert_array_equal(gone, time[:, :, None] | frequency[:, None, :])
    assert time.sum(axis=1).max() > FRAMES // 5
    assert frequency.sum(axis=1).max() > BANDS // 2


def test_hidden_places_have_the_mean_of_the_clip():
    x = spectrograms(8, channels=2)
    found = np.asarray(jitted(x, keys_of(8), time_masks=(1, 1.0)))
    mean = np.asarray(x).mean(axis=(1, 2))
    moved = found != np.asarray(x)
    assert moved.any()
    expected = np.broadcast_to(mean[:, None, None], found.shape)
    np.testing.assert_allclose(found[moved], expected[moved], rtol=1e-4, atol=1e-6)


def test_a_row_draws_by_its_own_key():
    x = spectrograms(6)
    whole = jitted(x, keys_of(6), time_masks=(2, 0.3), frequency_masks=(1, 0.3))
    part = jitted(x[3:], keys_of(6)[3:], time_masks=(2, 0.3), frequency_masks=(1, 0.3))
    np.testing.assert_array_equal(whole[3:], part)
    other = jitted(x, keys_of(6, seed=1), time_masks=(2, 0.3), frequency_masks=(1, 0.3))
    assert np.any(np.asarray(whole) != np.asarray(other))


def test_bands_are_needed():
    with pytest.raises(UsageError, match="frequency_masks of a view need bands"):
        mask_stripes(spectrograms(2)[:, :, :1], keys_of(2), frequency_masks=(1, 0.5))
