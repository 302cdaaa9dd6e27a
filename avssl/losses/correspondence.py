"""Binary audio-visual correspondence: do this picture and this sound belong together?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar, root, unit_rows
from avssl.losses.rows import blank_absent, weighted_mean


def correspondence_loss(
    logits: Float[Array, "n 2"],
    corresponds: Bool[Array, "n"],
    *,
    present: Bool[Array, "n"],
    weights: Float[Array, "n"] | None = None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Softmax cross-entropy of L3-Net (Arandjelovic & Zisserman 2017); class 1 is "together".

    Mean over the pairs that are `present`, with `weights` a weighted one; 0 if there is none. A tie
    counts as a wrong answer. The paper's weight penalty (1e-5) is the optimiser's business.
    """
    wide = blank_absent(logits, present)
    # Cross-entropy of two classes depends on the difference of their logits alone.
    margin = jnp.where(corresponds, wide[:, 1] - wide[:, 0], wide[:, 0] - wide[:, 1])
    return weighted_mean(jax.nn.softplus(-margin), weights, present), {
        "accuracy": weighted_mean((margin > 0.0).astype(wide.dtype), weights, present),
        "num_pairs": jnp.sum(present.astype(wide.dtype)),
    }


def distance_logits(
    video: Float[Array, "n d"],
    audio: Float[Array, "n d"],
    *,
    weight: Float[Array, "2"],
    bias: Float[Array, "2"],
) -> tuple[Float[Array, "n 2"], Float[Array, "n"]]:
    """AVE-Net's logits (Arandjelovic & Zisserman 2018): weight * distance + bias, and the distance.

    The distance is Euclidean between the embeddings, row by row, each scaled to length 1. Where two
    embeddings are equal its gradient does not exist and is taken as 0.
    """
    difference = unit_rows(video) - unit_rows(audio)
    distance = root(jnp.sum(difference**2, axis=-1))
    weight, bias = weight.astype(distance.dtype), bias.astype(distance.dtype)
    return distance[:, None] * weight[None] + bias[None], distance
