"""AVSA's transformer on the set of a clip's viewpoints."""

import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from avssl.models.draws import RowDropout
from avssl.models.precision import parameter_dtype
from avssl.models.transformer import check_heads


class SetTransformerLayer(nn.Module):
    """Self-attention, then two linear layers; each is added to its input and then normalised."""

    num_heads: int = 1
    expansion: int = 4
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b v d"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Float[Array, "b v d"]:
        held = parameter_dtype(self.dtype)
        linear = partial(nn.Dense, dtype=self.dtype, param_dtype=held)
        norm = partial(
            nn.LayerNorm,
            epsilon=1e-5,
            use_fast_variance=False,  # E[x^2] - E[x]^2 loses digits
            dtype=self.dtype,
            param_dtype=held,
        )
        drop = partial(RowDropout, self.dropout)

        dim = x.shape[-1]
        check_heads(dim, self.num_heads)
        query, key, value = (
            linear(dim, name=name)(x).reshape(*x.shape[:2], self.num_heads, -1)
            for name in ("query", "key", "value")
        )
        scores = jnp.einsum("bihd,bjhd->bhij", query, key, preferred_element_type=held)
        weights = nn.softmax(scores / math.sqrt(query.shape[-1]))
        if self.num_heads > 1:
            weights = drop(name="weights_dropout")(weights, train=train, rows=rows)
        context = jnp.einsum("bhij,bjhd->bihd", weights.astype(self.dtype), value)
        attended = linear(dim, name="attended")(context.reshape(x.shape))
        attended = drop(name="attended_dropout")(attended, train=train, rows=rows)
        x = norm(name="attention_norm")(x + attended)

        hidden = nn.relu(linear(self.expansion * dim, name="expanded")(x))
        hidden = linear(dim, name="reduced")(hidden)
        hidden = drop(name="reduced_dropout")(hidden, train=train, rows=rows)
        return nn.relu(norm(name="output_norm")(x + hidden))


class SetTransformer(nn.Module):
    """Translates the embeddings of a clip's viewpoints in one modality into the other's.

    Of AVSA (Morgado, Li, Vasconcelos, NeurIPS 2020, `criterions/transformers.py`): no positions, as
    viewpoints have no order, and a ReLU after every layer, the last one too. The defaults are the
    released configuration's: two layers, and one head (`SimplifiedAttention`), whose attention
    weights are not dropped. With more heads they are, as in `MultiHeadAttention` (8 there).

    Departure: kernels start as LeCun-normal and biases at zero, not as PyTorch's uniform default.
    """

    depth: int = 2
    num_heads: int = 1
    expansion: int = 4
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b v d"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> Float[Array, "b v d"]:
        x = x.astype(self.dtype)
        for layer in range(1, self.depth + 1):
            x = SetTransformerLayer(
                self.num_heads, self.expansion, self.dropout, self.dtype, name=f"layer{layer}"
            )(x, train=train, rows=rows)
        return x
