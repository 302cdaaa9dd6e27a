"""Convolutions that are fast on CPU too, with the same parameters and numbers everywhere.

XLA's CPU backend has a fast path for 2D convolutions and their input gradients, and none for 3D
ones: the input gradient of a strided 3D convolution is 50 to 400 times slower than the same sum
written as 2D convolutions. So on CPU a 3D convolution is a 2D one of frames, with the channels of all
that it sees at a time. (A sum of a 2D one for each has products that are too small, and every reader
adds it up anew.) The kernel gradient of 2D convolutions is slow as well where maps are large: see
`kernel_gradient.py`. The implementation is chosen by the platform that is compiled for, not by the
host's.

Along a line (waveforms, and maps of width 1) both the native gradients are slow on CPU, up to 20
times for one channel and a stride. There the convolution is a matrix product with the kernel
written out as a band, some outputs at a time: their inputs are read together, few copies are made.

Layouts: video [batch, time, height, width, channels], kernel [time, height, width, in, out].
Padding is given per side and axis, as in PyTorch, because "SAME" places it differently for even
sizes under a stride.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.models.kernel_gradient import kernel_gradient_by_products
from avssl.models.precision import parameter_dtype

HE_NORMAL = nn.initializers.he_normal()
# As PyTorch's ResNets start: normal with variance 2 / (kernel size * output channels).
HE_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# PyTorch's default for convolutions and linear layers: uniform in +-1/sqrt(fan_in).
TORCH_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

# Outputs (positions times channels) that a convolution along a line takes at a time: measured.
BAND_OUTPUTS = 128


def _native(x: Array, kernel: Array, strides: tuple[int, ...], padding: tuple[int, ...]) -> Array:
    axes = "THW"[-len(strides) :]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        strides,
        [(pad, pad) for pad in padding],
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


def _input_gradient(convolve: Callable, x: Array, kernel: Array, g: Array) -> Array:
    return jax.vjp(lambda x: convolve(x, kernel), x)[1](g)[0]


def _kernel_gradient(convolve: Callable, x: Array, kernel: Array, g: Array) -> Array:
    return jax.vjp(lambda kernel: convolve(x, kernel), kernel)[1](g)[0]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve2d(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    strides: tuple[int, int],
    padding: tuple[int, int],
) -> Float[Array, "b h2 w2 o"]:
    return _native(x, kernel, strides, padding)


def _convolve2d_forward(x, kernel, strides, padding):
    return _native(x, kernel, strides, padding), (x, kernel)


def _convolve2d_backward(strides, padding, residuals, g):
    x, kernel = residuals
    native = partial(_native, strides=strides, padding=padding)
    kernel_gradient = jax.lax.platform_dependent(
        x,
        kernel,
        g,
        cpu=partial(kernel_gradient_by_products, strides=strides, padding=padding),
        default=partial(_kernel_gradient, native),
    )
    return _input_gradient(native, x, kernel, g), kernel_gradient


convolve2d.defvjp(_convolve2d_forward, _convolve2d_backward)


def _by_frames(
    x: Array, kernel: Array, strides: tuple[int, ...], padding: tuple[int, ...]
) -> Array:
    """A 2D convolution of frames, with the channels of all that are seen at a time; time is in the batch."""
    taps, *size, in_channels, out_channels = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding[0],) * 2, (0, 0), (0, 0), (0, 0)))
    out_time = (x.shape[1] - taps) // strides[0] + 1
    end = strides[0] * (out_time - 1) + 1
    seen = [x[:, first : first + end : strides[0]] for first in range(taps)]
    frames = jnp.concatenate(seen, axis=-1).reshape(-1, *x.shape[2:4], taps * in_channels)
    kernel = jnp.moveaxis(kernel, 0, 2).reshape(*size, taps * in_channels, out_channels)
    y: Array = convolve2d(frames, kernel, strides[1:], padding[1:])
    return y.reshape(len(x), out_time, *y.shape[1:])


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve3d(
    x: Float[Array, "b t h w i"],
    kernel: Float[Array, "kt kh kw i o"],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> Float[Array, "b t2 h2 w2 o"]:
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=partial(_by_frames, strides=strides, padding=padding),
        default=partial(_native, strides=strides, padding=padding),
    )


# Differentiated by hand, so that each platform's branch keeps nothing but the two inputs: left to
# autodiff, both branches' residuals would be carried.
def _convolve3d_forward(x, kernel, strides, padding):
    return convolve3d(x, kernel, strides, padding), (x, kernel)


def _convolve3d_backward(strides, padding, residuals, g):
    return _gradients_by_platform(_by_frames, strides, padding, residuals, g)


def _gradients_by_platform(on_cpu: Callable, strides, padding, residuals, g):
    branches = {
        "cpu": partial(on_cpu, strides=strides, padding=padding),
        "default": partial(_native, strides=strides, padding=padding),
    }
    return tuple(
        jax.lax.platform_dependent(
            *residuals, g, **{name: partial(gradient, f) for name, f in branches.items()}
        )
        for gradient in (_input_gradient, _kernel_gradient)
    )


convolve3d.defvjp(_convolve3d_forward, _convolve3d_backward)


def _by_band(x: Array, kernel: Array, strides: tuple[int], padding: tuple[int]) -> Array:
    """Products of pieces of the line, each with the inputs of its outputs, and a banded matrix."""
    (stride,), (pad,) = strides, padding
    taps, in_channels, out_channels = kernel.shape
    out_size = (x.shape[1] + 2 * pad - taps) // stride + 1
    outputs = max(1, BAND_OUTPUTS // out_channels)
    num_pieces, hop = -(-out_size // outputs), outputs * stride
    reach = taps + hop - stride
    num_hops = num_pieces - 1 + -(-reach // hop)
    missing = num_hops * hop - x.shape[1] - pad
    x = jnp.pad(x, ((0, 0), (pad, max(0, missing)), (0, 0)))[:, : num_hops * hop]
    x = x.reshape(len(x), num_hops, hop * in_channels)
    shifted = [x[:, first : first + num_pieces] for first in range(-(-reach // hop))]
    pieces = jnp.concatenate(shifted, axis=-1)[..., : reach * in_channels]
    # Rows of a length that is short of the period by a stride: each starts a stride later in it.
    period = jnp.pad(kernel, ((0, reach + stride - taps), (0, 0), (0, 0)))
    rows = jnp.broadcast_to(period[None], (outputs, *period.shape))
    rows = rows.reshape(-1, in_channels, out_channels)[: outputs * reach]
    rows = rows.reshape(outputs, reach * in_channels, out_channels)
    band = rows.swapaxes(0, 1).reshape(reach * in_channels, outputs * out_channels)
    return (pieces @ band).reshape(len(x), -1, out_channels)[:, :out_size]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve1d(
    x: Float[Array, "b t i"],
    kernel: Float[Array, "kt i o"],
    strides: tuple[int],
    padding: tuple[int],
) -> Float[Array, "b t2 o"]:
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=partial(_by_band, strides=strides, padding=padding),
        default=partial(_native, strides=strides, padding=padding),
    )


def _convolve1d_forward(x, kernel, strides, padding):
    return convolve1d(x, kernel, strides, padding), (x, kernel)


def _convolve1d_backward(strides, padding, residuals, g):
    return _gradients_by_platform(_by_band, strides, padding, residuals, g)


convolve1d.defvjp(_convolve1d_forward, _convolve1d_backward)


class Conv(nn.Module):
    """A 2D or 3D convolution, as many axes as `kernel_size` has.

    `padding` defaults to half the kernel on either side. There is no bias, as a norm follows, unless
    `bias_init` is given. A kernel of width 1 on a map of width 1 is one along a line.
    """

    features: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    padding: tuple[int, ...] | None = None
    kernel_init: Callable = HE_NORMAL
    bias_init: Callable | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b *positions i"]) -> Float[Array, "b *out o"]:
        held = parameter_dtype(self.dtype)
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, held).astype(self.dtype)
        strides = self.strides or (1,) * len(self.kernel_size)
        padding = self.padding or tuple(size // 2 for size in self.kernel_size)
        x = x.astype(self.dtype)
        along_line = x.shape[2:-1] == self.kernel_size[1:] == (1,) and padding[1] == 0
        if along_line:
            x, kernel, strides, padding = x[:, :, 0], kernel[:, 0], strides[:1], padding[:1]
        convolve = {1: convolve1d, 2: convolve2d, 3: convolve3d}[len(strides)]
        y: Array = convolve(x, kernel, strides, padding)
        if self.bias_init is not None:
            bias = self.param("bias", self.bias_init, (self.features,), held)
            y = y + bias.astype(self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
        return y[:, :, None] if along_line else y
