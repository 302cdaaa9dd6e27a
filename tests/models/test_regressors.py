"""The regressors of FitNets and VID against sums in numpy, and the sizes they accept."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.hints import variational_loss
from avssl.models.regressors import HintRegressor, VariationalRegressor


def draw(*shape, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def naive_axis(x, kernel, size, target):
    """One-dimensional [place, in] with kernel [tap, in, out], as PyTorch's layers are defined."""
    y = np.zeros((target, kernel.shape[2]))
    for tap in range(kernel.shape[0]):
        if 2 * size == target:
            # Transposed: input i feeds output 2 i - 1 + tap, by PyTorch's tap; ours are reversed.
            moves = ((2 * i - 1 + tap, i) for i in range(size))
            weight = kernel[kernel.shape[0] - 1 - tap]
        elif size == 2 * target:
            moves = ((o, 2 * o - 1 + tap) for o in range(target))
            weight = kernel[tap]
        else:
            moves = ((o, o + tap) for o in range(target))
            weight = kernel[tap]
        for o, i in moves:
            if 0 <= o < target and 0 <= i < size:
                y[o] += x[i] @ weight
    return y


@pytest.mark.parametrize(
    ("size", "target", "taps"), [(6, 3, 3), (3, 6, 4), (5, 3, 3), (4, 4, 1), (1, 2, 4), (2, 1, 3)]
)
def test_each_axis_equals_its_sum(size, target, taps):
    x = draw(3, size, 1, 2)
    regressor = HintRegressor((target, 1, 4))
    variables = jax.jit(partial(regressor.init, train=True))(jax.random.key(0), x)
    kernel = variables["params"]["conv"]["kernel"]
    assert kernel.shape == (taps, 1, 2, 4)
    y, _ = jax.jit(partial(regressor.apply, train=True, mutable=["batch_stats"]))(variables, x)
    rows = np.asarray(x)[:, :, 0]
    before = np.stack([naive_axis(row, np.asarray(kernel)[:, 0], size, target) for row in rows])
    normal = (before - before.mean(axis=(0, 1))) / np.sqrt(before.var(axis=(0, 1)) + 1e-5)
    np.testing.assert_allclose(y[:, :, 0], np.maximum(normal, 0), rtol=1e-4, atol=1e-5)


def test_videos_and_mixed_axes_reach_the_teacher_s_shape():
    x = jax.ShapeDtypeStruct((2, 4, 8, 5, 3), jnp.float32)
    regressor = HintRegressor((4, 4, 10, 7))
    init = partial(regressor.init_with_output, jax.random.key(0), train=True)
    y, variables = jax.eval_shape(lambda x: init(x), x)
    assert y.shape == (2, 4, 4, 10, 7)
    assert variables["params"]["conv"]["kernel"].shape == (1, 3, 4, 3, 7)


@pytest.mark.parametrize(
    ("shape", "message"), [((5, 4, 3), "no layer from 4 to 5"), ((4, 3), "cannot become one of 1")]
)
def test_sizes_without_a_layer_are_refused(shape, message):
    with pytest.raises(UsageError, match=message):
        HintRegressor(shape).init(jax.random.key(0), draw(2, 4, 4, 3), train=True)


def test_variational_regressor_equals_its_products():
    x = draw(2, 3, 4, 5)
    regressor = VariationalRegressor(6, hidden=7)
    variables = jax.jit(regressor.init)(jax.random.key(0), x)
    y, raw_variance = jax.jit(regressor.apply)(variables, x)
    kernels = [np.asarray(variables["params"][f"linear{i}"]["kernel"]) for i in (1, 2, 3)]
    assert [kernel.shape for kernel in kernels] == [(5, 7), (7, 7), (7, 6)]
    hidden = np.maximum(np.maximum(np.asarray(x) @ kernels[0], 0) @ kernels[1], 0)
    np.testing.assert_allclose(y, hidden @ kernels[2], rtol=1e-4, atol=1e-5)
    assert raw_variance.shape == (6,)


def test_variances_start_at_the_given_value():
    x = draw(2, 3, 4)
    init = VariationalRegressor(6, initial_variance=3.0).init_with_output
    (y, raw_variance), _ = jax.jit(init)(jax.random.key(0), x)
    teacher = draw(2, 3, 6, seed=1)
    loss = jax.jit(variational_loss)(y, teacher, raw_variance, present=jnp.ones(2, bool))
    expected = np.mean(0.5 * ((y - teacher) ** 2 / 3.0 + np.log(3.0)))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("dtype", "held"), [("float32", "float32"), ("bfloat16", "float32"), ("float64", "float64")]
)
def test_parameters_are_held_wide(dtype, held):
    x = jnp.zeros((2, 4, 4, 3), dtype)
    hint = HintRegressor((4, 4, 5), dtype=dtype)
    y, variables = jax.eval_shape(
        lambda x: hint.init_with_output(jax.random.key(0), x, train=True), x
    )
    assert y.dtype == dtype
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
    variational = VariationalRegressor(5, dtype=dtype)
    (y, _), variables = jax.eval_shape(
        lambda x: variational.init_with_output(jax.random.key(0), x), x
    )
    assert y.dtype == dtype
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
