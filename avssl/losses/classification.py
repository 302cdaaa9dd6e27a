"""Classes and tags that are known: cross-entropies with smoothed, mixed or partly unknown labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present


def class_shares(
    labels: Int[Array, "b"], num_classes: int, *, dtype: jnp.dtype, smoothing: float = 0.0
) -> Float[Array, "b c"]:
    """What each class is given of a row: 1 - smoothing to its own, and smoothing spread over all alike.

    Szegedy et al. 2016 ("Rethinking the Inception Architecture for Computer Vision", CVPR, section 7): their
    own class has 1 - smoothing + smoothing / c, as in PyTorch and optax. A row of no class has zeros and
    the smoothing: it must be left out.
    """
    own = jax.nn.one_hot(labels, num_classes, dtype=dtype)
    return (1.0 - smoothing) * own + smoothing / num_classes


def classification_loss(
    logits: Float[Array, "b c"], shares: Float[Array, "b c"], *, present: Bool[Array, "b"]
) -> tuple[Scalar, dict[str, Scalar]]:
    """Softmax cross-entropy with shares of classes that add up to 1, mean over the rows that are present.

    Metrics: how often the class of the largest share has strictly the largest logit, and the number of rows.
    """
    wide, shares = blank_absent(logits, present), blank_absent(shares, present)
    losses = -jnp.sum(shares * jax.nn.log_softmax(wide, axis=1), axis=1)
    own_class = jax.nn.one_hot(jnp.argmax(shares, axis=1), wide.shape[1], dtype=jnp.bool_)
    own = jnp.sum(jnp.where(own_class, wide, 0.0), axis=1)
    rival = jnp.max(jnp.where(own_class, -jnp.inf, wide), axis=1)
    return mean_present(losses, present), {
        "accuracy": mean_present((own > rival).astype(wide.dtype), present),
        "num_rows": jnp.sum(present.astype(wide.dtype)),
    }


def tag_shares(
    tags: Float[Array, "b c"] | Int[Array, "b c"], *, dtype: jnp.dtype, smoothing: float = 0.0
) -> Float[Array, "b c"]:
    """Tags of 0 and 1 drawn towards one half: (1 - smoothing) tag + smoothing / 2. Those unknown (-1) as 0."""
    return (1.0 - smoothing) * jnp.maximum(tags, 0).astype(dtype) + smoothing / 2


def tagging_loss(
    logits: Float[Array, "b c"], tags: Float[Array, "b c"], *, known: Bool[Array, "b c"]
) -> tuple[Scalar, dict[str, Scalar]]:
    """Binary cross-entropy of tags from 0 to 1, mean over all that are known; 0 if none is.

    As PANNs trains (Kong et al. 2020, arXiv 1912.10211, `clip_bce`: the mean over clips and classes);
    unknown ones, of which nobody said whether a clip has them, may hold anything. Metrics: the share of
    tags that the sign of the logit says rightly, and the number of rows with any.
    """
    wide, tags = (jnp.where(known, widen(x), 0.0) for x in (logits, tags))
    losses = jax.nn.softplus(wide) - wide * tags
    right = (wide > 0) == (tags > 0.5)
    return mean_present(losses, known), {
        "tag_accuracy": mean_present(right.astype(wide.dtype), known),
        "num_rows": jnp.sum(jnp.any(known, axis=1).astype(wide.dtype)),
    }
