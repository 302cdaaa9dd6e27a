import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models import kernel_gradient
from avssl.models.convolution import Conv, convolve1d, convolve2d, convolve3d


def native(x, kernel, strides, padding):
    axes = "THW"[-len(strides) :]
    layout = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    pads = [(pad, pad) for pad in padding]
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=layout)


def value_and_gradients(convolve, x, kernel, strides, padding):
    @jax.jit
    def compute(x, kernel):
        y, pullback = jax.vjp(lambda x, kernel: convolve(x, kernel, strides, padding), x, kernel)
        cotangent = jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return y, *pullback(cotangent)

    return compute(x, kernel)


def assert_same(convolve, x_shape, kernel_shape, strides, padding):
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=shape)) for shape in (x_shape, kernel_shape))
    actual = value_and_gradients(convolve, x, kernel, strides, padding)
    expected = value_and_gradients(native, x, kernel, strides, padding)
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == jnp.float64
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
        ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
        ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        ((3, 1, 1), (2, 1, 1), (1, 0, 0)),
        ((1, 1, 1), (2, 2, 2), (0, 0, 0)),
        ((3, 5, 4), (1, 2, 3), (1, 0, 2)),
    ],
)
@pytest.mark.usefixtures("float64")
def test_taps_have_the_values_and_gradients_of_the_native_convolution(size, strides, padding):
    assert_same(convolve3d, (2, 5, 7, 6, 3), (*size, 3, 4), strides, padding)


@pytest.mark.parametrize(
    ("samples", "taps", "channels", "stride", "padding"),
    [
        (301, 64, (1, 16), 2, 32),
        (40, 9, (3, 40), 1, 4),
        (17, 4, (2, 200), 3, 0),
        (9, 1, (3, 5), 2, 0),
    ],
)
@pytest.mark.usefixtures("float64")
def test_a_band_has_the_values_and_gradients_of_the_native_convolution(
    samples, taps, channels, stride, padding
):
    """Outputs that fill their pieces and that do not, inputs that are left over."""
    x_shape, kernel_shape = (2, samples, channels[0]), (taps, *channels)
    assert_same(convolve1d, x_shape, kernel_shape, (stride,), (padding,))


@pytest.mark.parametrize("padding", [None, (0, 0), (1, 1)])
@pytest.mark.usefixtures("float64")
def test_a_map_of_width_1_is_a_line(padding):
    """With a bias; where the width is padded it is none."""
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(2, 11, 1, 3)), random.normal(size=(5, 1, 3, 4))
    conv = Conv(4, (5, 1), (2, 1), padding, bias_init=jax.nn.initializers.zeros, dtype=jnp.float64)
    params = {"kernel": kernel, "bias": np.ones(4)}
    y, expected = jax.jit(
        lambda params, x: (
            conv.apply({"params": params}, x),
            native(x, params["kernel"], (2, 1), padding or (2, 0)) + 1.0,
        )
    )(params, x)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


# Kernel rows by themselves, all together, and those together that meet the same lines; the gradients
# the narrow side of a product, and the wide one.
@pytest.mark.parametrize(
    ("kernel", "stride", "groups"),
    [
        ((3, 5, 2, 9), 1, [[0], [1], [2]]),
        ((4, 1, 8, 4), 1, [[0, 1, 2, 3]]),
        ((5, 3, 4, 5), 2, [[0, 2, 4], [1, 3]]),
        ((2, 3, 4, 2), 3, [[0], [1]]),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 4000, 2**20])
@pytest.mark.usefixtures("float64")
def test_blocks_of_the_kernel_gradient_add_up(monkeypatch, block_bytes, kernel, stride, groups):
    monkeypatch.setattr(kernel_gradient, "BLOCK_BYTES", block_bytes)
    assert [list(rows) for rows in kernel_gradient.row_groups(kernel, stride)] == groups
    assert_same(convolve2d, (6, 7, 9, kernel[2]), kernel, (stride, 1), (1, 2))


def test_blocks_are_the_fewest_that_fit():
    found = [kernel_gradient.num_blocks(12, copied_bytes, 100) for copied_bytes in (8, 9, 30, 101)]
    assert found == [1, 2, 4, 12]
    assert kernel_gradient.num_blocks(7, 20, 100) == 7


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_the_platform_compiled_for_chooses(platform):
    x, kernel = jnp.zeros((2, 4, 6, 6, 3)), jnp.zeros((3, 3, 3, 3, 4))

    def loss(x, kernel):
        return jnp.sum(convolve3d(x, kernel, (1, 2, 2), (1, 1, 1)))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    text = step.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    spatial = {line.count("x") for line in (line.split("->")[-1] for line in convolutions)}
    assert spatial == {4 if platform == "cpu" else 5}


def test_parameters_stay_float32_under_bfloat16():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
    variables = jax.jit(Conv(4, (3, 3), dtype=jnp.bfloat16).init)(jax.random.key(1), x)
    assert variables["params"]["kernel"].dtype == jnp.float32

    def kernel_gradient(dtype):
        def loss(variables):
            y = Conv(4, (3, 3), dtype=dtype).apply(variables, x)
            assert y.dtype == dtype
            return jnp.sum(y.astype(jnp.float32))

        return jax.jit(jax.grad(loss))(variables)["params"]["kernel"]

    narrow, wide = kernel_gradient(jnp.bfloat16), kernel_gradient(jnp.float32)
    assert narrow.dtype == jnp.float32
    assert np.linalg.norm(narrow - wide) < 0.01 * np.linalg.norm(wide)
