import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models.draws import RowDropout

ROWS = jnp.arange(40, dtype=jnp.int32)


def dropped(x, rows, rate=0.25, seed=0):
    rngs = {"draw": jax.random.key(seed)}
    return np.asarray(RowDropout(rate).apply({}, x, train=True, rows=rows, rngs=rngs))


def test_the_mask_depends_on_the_row_alone():
    x = jax.random.uniform(jax.random.key(1), (40, 3, 50), minval=1.0, maxval=2.0)
    whole = dropped(x, ROWS)
    np.testing.assert_array_equal(dropped(x[10:15], ROWS[10:15]), whole[10:15])
    np.testing.assert_array_equal(dropped(x[::-1], ROWS[::-1]), whole[::-1])
    assert (whole[0] != 0).tolist() != (whole[1] != 0).tolist()
    assert (dropped(x, ROWS, seed=1) != whole).any()


def test_rate_and_scale():
    x = jnp.full((40, 150), 3.0)
    y = dropped(x, ROWS)
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs((y == 0).mean() - 0.25) < 0.025  # 4.5 standard deviations


def test_evaluation_draws_nothing():
    x = jnp.ones((40, 3))
    np.testing.assert_array_equal(RowDropout(0.5).apply({}, x, train=False, rows=None), x)
    np.testing.assert_array_equal(RowDropout(0.0).apply({}, x, train=True, rows=None), x)


def test_training_needs_rows():
    with pytest.raises(ValueError, match="rows"):
        RowDropout(0.5).apply({}, jnp.ones((2, 3)), train=True, rows=None)
