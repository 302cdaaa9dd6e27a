"""Fourier transforms of whole sounds over the last axis, by products where the chip has no better way.

For sizes that are no power of two a TPU would take one product with the whole matrix of exponentials: 21 GiB
of it for 3.75 s at 20 kHz.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float


def half_spectrum(x: Float[Array, "b k n"]) -> Complex[Array, "b k m"]:
    """`jnp.fft.rfft`."""

    def by_products(x: Float[Array, "b k n"]) -> Complex[Array, "b k m"]:
        whole = in_two_steps(jax.lax.complex(x, jnp.zeros_like(x)), 1)
        return whole[:, :, : x.shape[2] // 2 + 1]

    return jax.lax.platform_dependent(x, tpu=by_products, default=jnp.fft.rfft)


def back_in_time(x: Complex[Array, "b k n"]) -> Complex[Array, "b k n"]:
    """`jnp.fft.ifft`."""

    def by_products(x: Complex[Array, "b k n"]) -> Complex[Array, "b k n"]:
        return in_two_steps(x, -1) / x.shape[2]

    return jax.lax.platform_dependent(x, tpu=by_products, default=jnp.fft.ifft)


def in_two_steps(x: Complex[Array, "b k n"], direction: int) -> Complex[Array, "b k n"]:
    """Cooley and Tukey's: of p x q numbers, transforms of p, a turn of each number, transforms of q."""
    size = x.shape[2]
    first = largest_factor(size)
    second = size // first
    # HIGHEST: accelerators would round the factors to bf16 or TF32 first.
    product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    parts = x.reshape(*x.shape[:2], first, second)
    parts = product("bkrc,rp->bkpc", parts, turns(first, first, first, direction, x.dtype))
    parts = parts * turns(first, second, size, direction, x.dtype)[None, None]
    parts = product("bkpc,cq->bkqp", parts, turns(second, second, second, direction, x.dtype))
    return parts.reshape(x.shape)


def turns(rows: int, columns: int, size: int, direction: int, dtype: jnp.dtype) -> Array:
    """exp(-2 pi i row column / size), or with the other sign."""
    # The remainder, as float32 has no room for many whole turns.
    steps = np.outer(np.arange(rows), np.arange(columns)) % size
    return jnp.asarray(np.exp(-2j * direction * np.pi * steps / size), dtype)


def largest_factor(size: int) -> int:
    """Of those that are no larger than the root."""
    return next(factor for factor in range(math.isqrt(size), 0, -1) if size % factor == 0)
