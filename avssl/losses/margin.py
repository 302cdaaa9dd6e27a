"""Contrastive margin loss: pairs that belong together are pulled, others pushed apart."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar, root, unit_rows
from avssl.losses.rows import blank_absent, mean_present, weighted_mean


def margin_loss(
    video: Float[Array, "n d"],
    audio: Float[Array, "n d"],
    together: Bool[Array, "n"],
    *,
    margin: float = 0.99,
    normalise: bool = False,
    present: Bool[Array, "n"],
    weights: Float[Array, "n"] | None = None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """AVTS's loss on audio-video pairs (Korbar, Tran & Torresani 2018, arXiv 1807.00230).

    mean over the pairs of d^2 where `together`, max(margin - d, 0)^2 elsewhere; d is the Euclidean
    distance of the embeddings of a pair. margin (eta) 0.99; no factor 1/2. There is no official
    code: formula and constant as recalled, not verified. The embeddings keep their length, unless
    `normalise` scales them to 1: d is then at most 2, and 0.99 is a cosine of 0.51.

    Additions: pairs with `present` False leave; `weights`, not negative and without gradient, make
    the mean a weighted one; without any pair, or with all weights 0, the loss is 0. Where two
    embeddings are equal, d has no gradient and it is taken as 0: such a negative is not pushed.
    Metrics, unweighted: the share of negatives within the margin (0: none teaches any more), the
    mean distance of positives and of negatives, and the numbers of both. 0 where there are none.
    """
    square = square_distances(video, audio, normalise=normalise, present=present)
    return margin_of_distances(square, together, margin=margin, present=present, weights=weights)


def square_distances(
    video: Float[Array, "n d"],
    audio: Float[Array, "n d"],
    *,
    normalise: bool,
    present: Bool[Array, "n"],
) -> Float[Array, "n"]:
    """Of each pair; absent ones may hold anything, NaN too, which does not reach the gradient."""
    video, audio = (blank_absent(x, present) for x in (video, audio))
    if normalise:
        video, audio = unit_rows(video), unit_rows(audio)
    return jnp.sum((video - audio) ** 2, axis=1)


def margin_of_distances(
    square: Float[Array, "n"],
    together: Bool[Array, "n"],
    *,
    margin: float,
    present: Bool[Array, "n"],
    weights: Float[Array, "n"] | None,
) -> tuple[Scalar, dict[str, Scalar]]:
    """`margin_loss` of squared distances."""
    distance = root(square)
    each = jnp.where(together, square, jnp.maximum(margin - distance, 0.0) ** 2)

    positive, negative = present & together, present & ~together
    metrics = {
        "active_negatives": mean_present((distance < margin).astype(each.dtype), negative),
        "positive_distance": mean_present(distance, positive),
        "negative_distance": mean_present(distance, negative),
        "num_positives": jnp.sum(positive.astype(each.dtype)),
        "num_negatives": jnp.sum(negative.astype(each.dtype)),
    }
    return weighted_mean(each, weights, present), metrics
