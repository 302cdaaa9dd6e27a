"""BatchNorm with PyTorch's numbers, over the global batch."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from avssl.models.precision import parameter_dtype

BATCH_AXIS = "batch"


class BatchNorm(nn.Module):
    """Normalises each channel over all other axes.

    As in PyTorch, and unlike flax's: `momentum` is the weight of the new value, the variance that
    normalises is biased and the one in `batch_stats` is not. Statistics are taken in float32 or
    wider whatever `dtype` is. They are those of the global batch everywhere: under `jit` on a
    sharded batch by themselves, and under `pmap` by averaging over the axis "batch", whenever one
    is bound where the module is called. Rows without the modality, which are zeros and count in no
    loss, take part in them as black pictures and silence would.

    `affine=False` learns neither scale nor bias.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    affine: bool = True
    scale_init: Callable = nn.initializers.ones
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b *positions c"], *, train: bool) -> Float[Array, "..."]:
        channels = x.shape[-1:]
        held = parameter_dtype(self.dtype)
        scale, bias = jnp.ones(channels, held), jnp.zeros(channels, held)
        if self.affine:
            scale = self.param("scale", self.scale_init, channels, held)
            bias = self.param("bias", nn.initializers.zeros, channels, held)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, held)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, held)

        if not train:
            factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            y = (x - _beside(running_mean.value, x)) * _beside(factor, x) + _beside(bias, x)
            return y.astype(self.dtype)

        y, mean, var = _normalise(x, scale, bias, self.epsilon)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count = x.size // x.shape[-1] * _num_shards()
            unbiased = var * (count / max(count - 1, 1))
            running_mean.value += self.momentum * (mean - running_mean.value)
            running_var.value += self.momentum * (unbiased - running_var.value)
        return y.astype(self.dtype)


def _normalise_plain(x, scale, bias, epsilon) -> tuple[Array, Array, Array]:
    """The output, and the mean and biased variance, which are for the records: no gradient."""
    return _normalise_forward(x, scale, bias, epsilon)[0]


def _normalise_forward(x, scale, bias, epsilon):
    wide = x.astype(scale.dtype)
    mean = _channel_mean(wide)
    centred = x - _beside(mean, x)
    if x.dtype == jnp.bfloat16:
        # In the same pass over x as the mean. What E[x^2] - E[x]^2 loses in float32 is a tenth of
        # what rounding x to bf16 has added.
        var = jnp.maximum(_channel_mean(jnp.square(wide)) - jnp.square(mean), 0.0)
    else:
        var = _channel_mean(jnp.square(centred))  # in a second pass: the difference loses digits
    inverse = jax.lax.rsqrt(var + epsilon)
    y = centred * _beside(scale * inverse, x) + _beside(bias, x)
    return (y, mean, var), (x, scale, mean, inverse)


def _normalise_backward(epsilon, residuals, cotangents):
    x, scale, mean, inverse = residuals
    g, _, _ = cotangents
    unit = (x - _beside(mean, x)) * _beside(inverse, x)
    count = x.size // x.shape[-1]
    bias_mean, scale_mean = _local_channel_mean(g), _local_channel_mean(g * unit)
    through_mean = _beside(_mean_over_shards(bias_mean), x)
    through_var = unit * _beside(_mean_over_shards(scale_mean), x)
    x_gradient = (g - through_mean - through_var) * _beside(scale * inverse, x)
    return x_gradient.astype(x.dtype), scale_mean * count, bias_mean * count


# Differentiated by hand: three times faster on CPU than what autodiff makes of it, and its sums
# over positions are taken example by example, so that they do not depend on how a batch is split.
_normalise = jax.custom_vjp(_normalise_plain, nondiff_argnums=(3,))
_normalise.defvjp(_normalise_forward, _normalise_backward)


def _beside(vector: ArrayLike, x: Array) -> Array:
    return jnp.asarray(vector).reshape((1,) * (x.ndim - 1) + (-1,))


def _channel_mean(x: Array) -> Array:
    return _mean_over_shards(_local_channel_mean(x))


def _local_channel_mean(x: Array) -> Array:
    """Example by example first: one long float32 sum over all positions would lose two digits."""
    return jnp.mean(jnp.mean(x, axis=tuple(range(1, x.ndim - 1))), axis=0)


def _num_shards() -> int:
    try:
        return jax.lax.axis_size(BATCH_AXIS)
    except NameError:  # no such axis is bound: this array is the whole batch
        return 1


def _mean_over_shards(value: Array) -> Array:
    return jax.lax.pmean(value, BATCH_AXIS) if _num_shards() > 1 else value
