"""Modules that belong to a distillation loss: they bring a student's map to a teacher's shape."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from avssl.errors import UsageError
from avssl.models.convolution import TORCH_UNIFORM, Conv
from avssl.models.norm import BatchNorm
from avssl.models.precision import parameter_dtype


class HintRegressor(nn.Module):
    """FitNets' regressor: convolution, BatchNorm, ReLU to `shape`, the teacher's (*positions, channels).

    Romero et al. 2015 (arXiv 1412.6550); layers as released in RepDistiller, `ConvReg`. Along an
    axis where the student is twice the teacher's size: kernel 3, stride 2; where it is half of it: a
    transposed convolution with kernel 4, stride 2; where it is at least as large: kernel
    1 + student - teacher, without padding. Else there is none.

    Departures, which change no output in training: each axis goes by its own sizes, where the
    released code looks at the height; the convolution has no bias, as BatchNorm follows. The kernel
    of a transposed axis is stored as that of a convolution over the stretched map: PyTorch's,
    reversed.
    """

    shape: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *positions c"], *, train: bool
    ) -> Float[Array, "b *others d"]:
        *targets, features = self.shape
        sizes = x.shape[1:-1]
        if len(sizes) != len(targets):
            raise UsageError(
                f"a map of {len(sizes)} axes of positions ({x.shape}) cannot become one of "
                f"{len(targets)} ({self.shape})"
            )
        stretch, kernel, strides, padding = zip(
            *(_axis(size, target) for size, target in zip(sizes, targets, strict=True)),
            strict=True,
        )
        x = x.astype(self.dtype)
        edges = ((0, 0, 0), *((0, 0, factor - 1) for factor in stretch), (0, 0, 0))
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
        x = Conv(features, kernel, strides, padding, TORCH_UNIFORM, dtype=self.dtype, name="conv")(
            x
        )
        return nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))


def _axis(size: int, target: int) -> tuple[int, int, int, int]:
    """How far an axis is stretched by zeros between its places; kernel, stride, padding after it."""
    if size == 2 * target:
        return 1, 3, 2, 1
    if 2 * size == target:
        return 2, 4, 1, 2
    if size >= target:
        return 1, 1 + size - target, 1, 0
    raise UsageError(
        f"the hint regressor has no layer from {size} to {target} positions: the student's must be "
        "half of the teacher's, or at least as many"
    )


class VariationalRegressor(nn.Module):
    """VID's: the mean of the teacher's map, and one raw variance for each of its channels.

    Ahn et al. 2019 (arXiv 1904.05835); as released in RepDistiller, `VID.py`: three linear layers at
    each position (1x1 convolutions) without bias, ReLU between them, `hidden` channels inside (0:
    as many as the teacher's); variances start at 5 once `variational_loss` has made them positive.
    """

    features: int
    hidden: int = 0
    initial_variance: float = 5.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *positions c"]
    ) -> tuple[Float[Array, "b *positions d"], Float[Array, "d"]]:
        held = parameter_dtype(self.dtype)
        hidden = self.hidden or self.features
        for layer, width in enumerate((hidden, hidden, self.features), start=1):
            x = nn.Dense(
                width,
                use_bias=False,
                dtype=self.dtype,
                param_dtype=held,
                kernel_init=TORCH_UNIFORM,
                name=f"linear{layer}",
            )(x if layer == 1 else nn.relu(x))
        # The 1e-5 is what the loss adds.
        raw = math.log(math.expm1(self.initial_variance - 1e-5))
        start = nn.initializers.constant(raw)
        return x, self.param("raw_variance", start, (self.features,), held)
