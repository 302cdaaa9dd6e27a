import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.rows import blank_absent, mean_present, weighted_mean

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = jnp.asarray([True, False, True])


def test_the_mean_is_of_present_rows_whatever_the_others_hold():
    values = jnp.asarray([1.0, jnp.nan, 4.0])
    mean, gradient = jax.value_and_grad(mean_present)(values, PRESENT)
    assert mean == 2.5
    np.testing.assert_array_equal(gradient, [0.5, 0.0, 0.5])
    assert mean_present(values, jnp.zeros(3, bool)) == 0.0


def test_absent_rows_are_blank_and_all_are_wide():
    rows = jnp.asarray([[1.0, 2.0], [jnp.inf, jnp.nan], [3.0, 4.0]], jnp.bfloat16)
    blank = blank_absent(rows, PRESENT)
    assert blank.dtype == jnp.float32
    np.testing.assert_array_equal(blank, [[1, 2], [0, 0], [3, 4]])


def test_a_weighted_mean_takes_its_weights_as_constants_and_leaves_absent_rows():
    values, weights = jnp.asarray([1.0, jnp.nan, 4.0]), jnp.asarray([3.0, jnp.nan, 1.0])
    mean, gradients = jax.value_and_grad(weighted_mean, (0, 1))(values, weights, PRESENT)
    assert mean == 1.75
    np.testing.assert_array_equal(gradients, [[0.75, 0.0, 0.25], [0.0, 0.0, 0.0]])
    assert weighted_mean(values, None, PRESENT) == mean_present(values, PRESENT) == 2.5
    assert weighted_mean(values, jnp.zeros(3), PRESENT) == 0.0
