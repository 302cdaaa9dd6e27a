"""Projection heads."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.draws import RowDropout
from avssl.models.norm import BatchNorm
from avssl.models.precision import parameter_dtype


class ProjectionMLP(nn.Module):
    """Linear layers with ReLU between them, one per width; nothing after the last.

    The default is AVID's head (`models/av_wrapper.py`: 512-512-128, no norm). `batch_norm` puts a
    BatchNorm before each ReLU. Kernels start as LeCun-normal and biases at zero; PyTorch's default,
    uniform in +-1/sqrt(fan_in), would shrink the activations from layer to layer.
    """

    widths: tuple[int, ...] = (512, 512, 128)
    batch_norm: bool = False
    norm_output: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *moments c"], *, train: bool
    ) -> Float[Array, "b *moments d"]:
        held = parameter_dtype(self.dtype)
        for layer, width in enumerate(self.widths, start=1):
            dense = nn.Dense(width, dtype=self.dtype, param_dtype=held, name=f"linear{layer}")
            x = dense(x)
            if layer < len(self.widths):
                if self.batch_norm:
                    x = BatchNorm(dtype=self.dtype, name=f"norm{layer}")(x, train=train)
                x = nn.relu(x)
        if self.norm_output:
            x = BatchNorm(affine=False, dtype=self.dtype, name="norm")(x, train=train)
        return x


class ClusterHead(nn.Module):
    """SeLaVi's (`MLPv2`): dropout, linear without bias, BatchNorm, ReLU, dropout, linear.

    Asano et al. 2020 (arXiv 2006.13662): width 512, dropout 0.3, one output per cluster.
    """

    width: int
    num_clusters: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x: Float[Array, "b c"], rows: Int[Array, "b"] | None = None, *, train: bool
    ) -> Float[Array, "b k"]:
        held = parameter_dtype(self.dtype)
        dense = functools.partial(nn.Dense, dtype=self.dtype, param_dtype=held)
        x = RowDropout(self.dropout)(x, train=train, rows=rows)
        x = dense(self.width, use_bias=False, name="linear1")(x)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))
        x = RowDropout(self.dropout)(x, train=train, rows=rows)
        return dense(self.num_clusters, name="linear2")(x)
