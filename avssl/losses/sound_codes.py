"""Codes of vectors that are fitted once to a data set: scales of groups, principal components, their signs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar
from avssl.losses.precision import dot
from avssl.losses.rows import blank_absent, mean_present

# The share of a group's mean square that its variance must exceed: less is the rounding of a constant.
LEAST_SHARE = 1e-10


def fit_scales(
    features: Float[Array, "n d"], groups: tuple[int, ...], *, present: Bool[Array, "n"]
) -> tuple[Float[Array, "d"], Float[Array, "d"]]:
    """(mean, scale) of each number over the present rows, such that no group of numbers dominates.

    `groups` are the numbers of columns of each group, in their order. (x - mean) * scale has in each
    group the total variance 1: within a group columns keep their proportions. A group that does not
    vary has the scale 0. Absent rows may hold anything; without a present one all is 0.
    """
    wide = blank_absent(features, present)
    count = jnp.maximum(jnp.sum(present.astype(wide.dtype)), 1.0)
    mean = jnp.sum(wide, axis=0) / count
    centred = jnp.where(present[:, None], wide - mean[None], 0.0)
    variance = jnp.sum(centred**2, axis=0) / count
    owner = jnp.repeat(jnp.arange(len(groups)), jnp.array(groups), total_repeat_length=sum(groups))
    total = jax.ops.segment_sum(variance, owner, len(groups))
    size = jax.ops.segment_sum(jnp.sum(wide**2, axis=0) / count, owner, len(groups))
    varies = total > LEAST_SHARE * size
    scale = jnp.where(varies, jax.lax.rsqrt(jnp.where(varies, total, 1.0)), 0.0)
    return mean, scale[owner]


def principal_components(
    centred: Float[Array, "n d"], num_components: int, *, present: Bool[Array, "n"]
) -> Float[Array, "d k"]:
    """The directions of most variance of rows whose mean is 0, the largest first, of unit length.

    Their signs are free: of each the component of largest size is positive.
    """
    rows = blank_absent(centred, present)
    # `eigh` orders from the smallest.
    _, vectors = jnp.linalg.eigh(dot(rows.T, rows))
    basis = vectors[:, ::-1][:, :num_components]
    largest = jnp.take_along_axis(basis, jnp.argmax(jnp.abs(basis), axis=0)[None], axis=0)
    return basis * jnp.where(largest < 0.0, -1.0, 1.0)


def binary_code_loss(
    logits: Float[Array, "b k"], bits: Bool[Array, "b k"], *, present: Bool[Array, "b"]
) -> tuple[Scalar, dict[str, Scalar]]:
    """-sum_j [b_j log s_j + (1 - b_j) log(1 - s_j)], s the sigmoid of the logits; mean over present rows.

    Metric: how often a bit is right.
    """
    wide = blank_absent(logits, present)
    each = -jax.nn.log_sigmoid(jnp.where(bits, wide, -wide))
    right = ((wide > 0.0) == bits).astype(wide.dtype)
    return mean_present(jnp.sum(each, axis=1), present), {
        "bit_accuracy": mean_present(jnp.mean(right, axis=1), present)
    }
