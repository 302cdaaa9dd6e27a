"""Noise-contrastive estimation against a few drawn negatives, with a frozen constant Z."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present


def nce_loss(
    positive: Float[Array, "b p"],
    negative: Float[Array, "b k"],
    *,
    partition: Scalar,
    present: Bool[Array, "b"],
) -> Scalar:
    """NCE of logits (cosine / temperature) as in AVID (Morgado et al. 2021, arXiv 2004.12943).

    With Z = `partition` and K the number of negatives,
    loss = mean_i of -mean_p log(e^s / (e^s + K Z)) - sum_k log(K Z / (e^s + K Z)):
    several positives are averaged, the negatives are summed, and Z gets no gradient.
    Official code: AVID-CMA, `criterions/nce.py`; computed here by softplus, which cannot overflow.

    Departures, which change nothing for complete batches: rows with `present` False leave, whatever
    they hold; without any row, or with K = 0 (then nothing is to be told apart), the loss is 0, and
    so it does not matter that Z may still be unset (0).
    """
    num_negatives = negative.shape[1]
    if positive.shape[1] == 0:
        raise ValueError("NCE needs at least one positive for each row")
    if num_negatives == 0:
        return jnp.zeros((), widen(positive).dtype)
    positive, negative = (blank_absent(x, present) for x in (positive, negative))
    constant = jax.lax.stop_gradient(partition).astype(negative.dtype)
    # Z is unset only while no row has been seen: every row is absent here, and leaves.
    noise = jnp.log(jnp.where(constant > 0.0, constant, 1.0)) + jnp.log(
        jnp.asarray(num_negatives, negative.dtype)
    )
    found = jnp.mean(jax.nn.softplus(noise - positive), axis=1)
    refused = jnp.sum(jax.nn.softplus(negative - noise), axis=1)
    return mean_present(found + refused, present)


def frozen_partition(
    stored: Scalar, negative: Float[Array, "b k"], *, present: Bool[Array, "b"]
) -> Scalar:
    """Z: the stored one once it is set (above 0), else the mean of e^s over these negatives.

    0 stays for unset while no row is present: the next batch sets Z then. Kept within the finite,
    positive numbers of its dtype, so that a tiny temperature cannot make it 0 or infinite.
    """
    negative = jax.lax.stop_gradient(widen(negative))
    stored = stored.astype(negative.dtype)
    num_negatives = negative.shape[1]
    if num_negatives == 0:
        return stored
    logits = blank_absent(negative, present)
    count = jnp.maximum(jnp.sum(present.astype(logits.dtype)), 1.0) * num_negatives
    # The largest logit is taken out by hand: logsumexp over nothing would be minus infinity.
    largest = jnp.max(logits)
    total = jnp.sum(jnp.where(present[:, None], jnp.exp(logits - largest), 0.0))
    limits = jnp.finfo(logits.dtype)
    estimate = jnp.clip(jnp.exp(largest) * (total / count), limits.tiny, limits.max)
    return jnp.where(stored > 0.0, stored, jnp.where(jnp.any(present), estimate, 0.0))
