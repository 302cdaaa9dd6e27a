import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models.norm import BatchNorm

CHANNELS = 3


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(2.0, 3.0, size=(16, 2, 5, CHANNELS))


def parameters(dtype=jnp.float64):
    random = np.random.default_rng(1)
    scale, bias, mean = (jnp.asarray(random.normal(size=CHANNELS), dtype) for _ in range(3))
    var = jnp.asarray(random.uniform(1, 2, size=CHANNELS), dtype)
    return {"params": {"scale": scale, "bias": bias}, "batch_stats": {"mean": mean, "var": var}}


@pytest.mark.usefixtures("float64")
def test_numbers_are_pytorchs(x):
    variables = parameters()
    norm = BatchNorm(dtype=jnp.float64)
    groups = variables["params"], variables["batch_stats"]
    scale, bias, mean, var = jax.tree.map(
        np.asarray, [leaf for group in groups for leaf in group.values()]
    )
    y, changed = norm.apply(variables, jnp.asarray(x), train=True, mutable=["batch_stats"])
    flat = x.reshape(-1, CHANNELS)
    expected = (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-10)
    after = changed["batch_stats"]
    np.testing.assert_allclose(after["mean"], 0.9 * mean + 0.1 * flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(after["var"], 0.9 * var + 0.1 * flat.var(0, ddof=1), rtol=1e-12)

    y = norm.apply(variables, jnp.asarray(x), train=False)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5) * scale + bias, rtol=1e-10)


def loss(params, x, dtype=jnp.float64):
    variables = parameters(dtype) | {"params": params}
    y, changed = BatchNorm(dtype=dtype).apply(variables, x, train=True, mutable=["batch_stats"])
    # Not linear in y: the gradient through the statistics of a linear loss is 0.
    return jnp.mean(jnp.sin(y) * x.astype(y.dtype)), changed["batch_stats"]


@pytest.mark.usefixtures("float64")
def test_gradient_is_that_of_the_formula(x):
    def plain(params, x):
        mean, var = (f(x.reshape(-1, CHANNELS), axis=0) for f in (jnp.mean, jnp.var))
        shape = (1, 1, 1, CHANNELS)
        unit = (x - mean.reshape(shape)) / jnp.sqrt(var + 1e-5).reshape(shape)
        y = unit * params["scale"].reshape(shape) + params["bias"].reshape(shape)
        return jnp.mean(jnp.sin(y) * x)

    params = parameters()["params"]
    expected = jax.grad(plain, argnums=(0, 1))(params, jnp.asarray(x))
    actual, _ = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, jnp.asarray(x))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), actual, expected
    )


@pytest.mark.usefixtures("float64")
def test_pmap_takes_the_statistics_of_the_global_batch(x):
    params, x = parameters()["params"], jnp.asarray(x)
    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (value, stats), (params_gradient, x_gradient) = jax.jit(gradient)(params, x)

    def device(params, x):
        (value, stats), (params_gradient, x_gradient) = gradient(params, x)
        return jax.lax.pmean((value, params_gradient), "batch"), stats, x_gradient

    shards = x.reshape(8, 2, *x.shape[1:])
    (values, params_gradients), all_stats, x_gradients = jax.pmap(
        device, axis_name="batch", in_axes=(None, 0)
    )(params, shards)

    def assert_on_every_device(arrays, expected):
        for array in np.asarray(arrays):
            np.testing.assert_allclose(array, expected, rtol=1e-12, atol=1e-15)

    jax.tree.map(
        assert_on_every_device,
        (values, params_gradients, all_stats),
        (value, params_gradient, stats),
    )
    # A device's loss is the mean over its own eighth of the batch.
    np.testing.assert_allclose(
        np.asarray(x_gradients).reshape(x.shape) / 8, x_gradient, rtol=1e-11, atol=1e-15
    )


def test_statistics_are_float32_under_bfloat16(x):
    # Near 300 bfloat16 resolves 2: a mean taken in it would be off by more than the tolerance.
    x = jnp.asarray(x / 3 + 300, jnp.bfloat16)
    norm = BatchNorm(dtype=jnp.bfloat16)
    y, changed = norm.apply(parameters(jnp.float32), x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    flat = np.asarray(x, np.float64).reshape(-1, CHANNELS)
    after, before = changed["batch_stats"], parameters(jnp.float32)["batch_stats"]
    mean, var = ((after[key] - 0.9 * before[key]) / 0.1 for key in ("mean", "var"))
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, flat.var(0, ddof=1), atol=0.1 * 2**2 / 12)
    (gradient, _) = jax.grad(loss, has_aux=True)(parameters(jnp.float32)["params"], x, jnp.bfloat16)
    assert gradient["scale"].dtype == jnp.float32


def test_running_statistics_are_written_only_where_they_may_be(x):
    variables = parameters(jnp.float32)
    x = jnp.asarray(x, jnp.float32)
    writing, _ = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(BatchNorm().apply(variables, x, train=True), writing)
    fresh = BatchNorm().init(jax.random.key(0), x, train=True)["batch_stats"]
    np.testing.assert_array_equal(fresh["mean"], np.zeros(CHANNELS))
    np.testing.assert_array_equal(fresh["var"], np.ones(CHANNELS))


def test_without_scale_and_bias(x):
    x = jnp.asarray(x, jnp.float32)
    plain = BatchNorm(affine=False)
    variables = plain.init(jax.random.key(0), x, train=False)
    assert "params" not in variables
    found, _ = plain.apply(variables, x, train=True, mutable=["batch_stats"])
    learnt = BatchNorm()
    expected, _ = learnt.apply(
        learnt.init(jax.random.key(0), x, train=False), x, train=True, mutable=["batch_stats"]
    )
    np.testing.assert_array_equal(found, expected)
