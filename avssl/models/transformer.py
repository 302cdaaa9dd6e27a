"""Blocks of a vision transformer, one after another or as a scan over stacked parameters."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.backend import get_backend
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Int

from avssl.errors import UsageError, unknown
from avssl.models.draws import StochasticDepth
from avssl.models.precision import parameter_dtype
from avssl.models.whole import gathering

REMATS = ("none", "attention", "dots", "full")
XAVIER = nn.initializers.xavier_uniform()


def attend(
    query: Float[Array, "b n h d"],
    key: Float[Array, "b m h d"],
    value: Float[Array, "b m h d"],
    *,
    narrow_scores: bool,
    flash: bool,
) -> Float[Array, "b n h d"]:
    """softmax(q k / sqrt(d)) v.

    flash: no scores are kept for the gradient; on NVIDIA GPUs by cuDNN's kernel, which makes none.
    """
    if not flash:
        return plain_attention(query, key, value, narrow_scores=narrow_scores)
    # As a branch it would keep its scores, of which cuDNN's would then hold zeros.
    anew = jax.checkpoint(partial(plain_attention, narrow_scores=False))
    if not has_cudnn():  # which tracing its branch needs, for whatever target
        return anew(query, key, value)
    return jax.lax.platform_dependent(query, key, value, cuda=cudnn_attention, default=anew)


def plain_attention(
    query: Float[Array, "b n h d"],
    key: Float[Array, "b m h d"],
    value: Float[Array, "b m h d"],
    *,
    narrow_scores: bool,
) -> Float[Array, "b n h d"]:
    weights = attention_weights(query, key, narrow_scores=narrow_scores)
    return jnp.einsum("bhij,bjhd->bihd", weights, value)


def cudnn_attention(
    query: Float[Array, "b n h d"], key: Float[Array, "b m h d"], value: Float[Array, "b m h d"]
) -> Float[Array, "b n h d"]:
    return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")


def has_cudnn() -> bool:
    return jax.default_backend() == "gpu" and "cuda" in get_backend().platform_version


def attention_weights(
    query: Float[Array, "b n h d"], key: Float[Array, "b m h d"], *, narrow_scores: bool
) -> Float[Array, "b h n m"]:
    """Scores go to memory in the type of the parameters, or narrow as the arithmetic."""
    wide = parameter_dtype(query.dtype)
    kept = query.dtype if narrow_scores else wide
    query = query / math.sqrt(query.shape[-1])
    scores = jnp.einsum("bihd,bjhd->bhij", query, key, preferred_element_type=kept)
    return nn.softmax(scores.astype(wide)).astype(query.dtype)


def check_flash(dtype: DTypeLike, *, num_tokens: int, train: bool) -> None:
    """Refuses what cuDNN's attention does not take."""
    # Training is refused anywhere: what passes on a laptop is to pass on the pod.
    if jnp.dtype(dtype).itemsize != 2 and (train or has_cudnn()):
        raise UsageError(
            f"flash=True is attention in bf16, and this encoder computes in {jnp.dtype(dtype)}: set "
            "precision=bf16 (of a teacher its own), or flash=False"
        )
    if num_tokens % 2 and train and has_cudnn():
        raise UsageError(
            f"flash=True is trained on an even number of patches, not {num_tokens}: set another patch_drop, or "
            "flash=False"
        )


def check_heads(width: int, num_heads: int) -> None:
    if width % num_heads:
        raise UsageError(f"a transformer of width {width} cannot be split into {num_heads} heads")


class Block(nn.Module):
    """Pre-norm: x + attention(norm(x)), then x + mlp(norm(x)), with GELU (Dosovitskiy et al. 2021).

    Each branch is left out for an example at the rate `drop`.
    """

    num_heads: int
    hidden: int
    narrow_scores: bool = False
    flash: bool = False
    recompute_attention: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n d"],
        drop: ArrayLike | None,
        rows: Int[Array, "b"] | None,
        train: bool,
    ) -> Float[Array, "b n d"]:
        held = parameter_dtype(self.dtype)
        linear = partial(nn.Dense, dtype=self.dtype, param_dtype=held, kernel_init=XAVIER)
        norm = partial(
            nn.LayerNorm, epsilon=1e-6, use_fast_variance=False, dtype=self.dtype, param_dtype=held
        )
        width = x.shape[-1]
        projected = linear(3 * width, name="query_key_value")(norm(name="attention_norm")(x))
        projected = projected.reshape(*x.shape[:2], 3, self.num_heads, -1)
        core = partial(attend, narrow_scores=self.narrow_scores, flash=self.flash)
        if self.recompute_attention:
            core = jax.checkpoint(core)
        attended = core(*(projected[:, :, part] for part in range(3))).reshape(x.shape)
        attended = linear(width, name="attended")(attended)
        x = x + StochasticDepth(name="attention_drop")(attended, drop, train=train, rows=rows)
        hidden = nn.gelu(linear(self.hidden, name="expanded")(norm(name="mlp_norm")(x)))
        hidden = linear(width, name="reduced")(hidden)
        return x + StochasticDepth(name="mlp_drop")(hidden, drop, train=train, rows=rows)


class Blocks(nn.Module):
    """`depth` blocks. remat: what the backward pass computes anew instead of keeping it: `attention` the
    scores alone, `dots` all but the products with weights, `full` all but the input of each block.

    scan: one block over parameters with a leading axis [depth], which compiles in the time of one; without
    remat it would keep more than unrolled blocks do, and is refused.
    """

    depth: int
    num_heads: int
    hidden: int
    drop_path: float = 0.0
    narrow_scores: bool = False
    flash: bool = False
    remat: str = "none"
    scan: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], *, train: bool, rows: Int[Array, "b"] | None = None
    ) -> tuple[Float[Array, "b n d"], dict[str, Array]]:
        """The tokens after the last block, and after each by name; a scan gives those of the last alone."""
        if self.remat not in REMATS:
            raise unknown("remat", self.remat, REMATS)
        if self.scan and self.remat in ("none", "attention"):
            raise UsageError(
                "scan=True keeps the inner values of all blocks: give remat=dots or remat=full with it"
            )
        if self.flash and self.narrow_scores:
            raise UsageError("flash=True keeps no scores: set narrow_scores=False")
        if self.flash:
            check_flash(self.dtype, num_tokens=x.shape[1], train=train)
        check_heads(x.shape[-1], self.num_heads)
        fields: dict[str, Any] = dict(
            num_heads=self.num_heads, hidden=self.hidden, narrow_scores=self.narrow_scores,
            flash=self.flash, recompute_attention=self.remat == "attention", dtype=self.dtype,
        )  # fmt: skip
        # The rate rises from block to block.
        drops = (
            np.linspace(0, self.drop_path, self.depth) if self.drop_path else [None] * self.depth
        )
        block = gathering(Block, self.dtype, init=self.is_initializing())
        if self.remat in ("dots", "full"):
            dots = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
            policy = dots if self.remat == "dots" else None
            # In a scan the loop itself keeps the compiler from merging the two computations.
            block = nn.remat(block, static_argnums=(4,), policy=policy, prevent_cse=not self.scan)
        if not self.scan:
            taps = {}
            for place in range(self.depth):
                x = block(**fields, name=f"block{place}")(x, drops[place], rows, train)
                taps[f"block{place}"] = x
            return x, taps

        def body(one: nn.Module, carried: Array, drop: Array | None) -> tuple[Array, None]:
            return one(carried, drop, rows, train), None

        over = nn.scan(
            body, variable_axes={"params": 0}, split_rngs={"params": True, "draw": True},
            length=self.depth,
        )  # fmt: skip
        each = jnp.asarray(drops, jnp.float32) if self.drop_path else None
        x, _ = over(block(**fields, name="blocks"), x, each)
        return x, {f"block{self.depth - 1}": x}
