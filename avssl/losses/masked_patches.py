"""Masked autoencoding: how far the inputs of hidden patches are from what was told from the others."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avssl.losses.precision import widen


def patch_errors(
    predicted: Float[Array, "b m p"],
    inputs: Float[Array, "b m p"],
    *,
    standardise: bool = False,
    epsilon: float = 1e-6,
) -> Float[Array, "b"]:
    """The mean squared error of each row's hidden patches: over their numbers, then over the patches.

    He et al. 2022 (arXiv 2111.06377); scenic's `av_mae` with `normalise_by_output_dimension`. standardise: each
    patch less its mean, over the root of its variance (biased, as in scenic; `cav-mae` divides by n - 1) and
    `epsilon`. Without hidden patches the error is 0.
    """
    if not predicted.shape[1]:
        return jnp.zeros(predicted.shape[0], widen(predicted).dtype)
    targets = jax.lax.stop_gradient(widen(inputs))
    if standardise:
        targets = jax.nn.standardize(targets, axis=-1, epsilon=epsilon)
    return jnp.mean((widen(predicted) - targets) ** 2, axis=(1, 2))
