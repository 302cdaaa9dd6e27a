"""Classification by angles with a margin, for embeddings that are compared by their cosine."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar, root
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.rows import blank_absent


def additive_angular_margin(
    cosine: Float[Array, "b k"],
    labels: Int[Array, "b"],
    *,
    margin: float | Scalar = 0.2,
    scale: float | Scalar = 32.0,
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """Cross-entropy of scale * cosine, the own class's as cos(angle + margin) (Deng et al. 2019).

    ArcFace, arXiv 1801.07698, eq. 3; margin 0.2 and scale 32 as usual for speakers. `cosine` is
    what `CosineClassifier` gives. As in the authors' code an own angle above pi - margin, where
    cos(angle + margin) rises again, gives cosine - margin sin(margin) instead. A margin that grows
    from 0 makes the start easier. At angles of exactly 0 and pi the sine, which has no gradient
    there, is taken as constant.

    Rows that are not `present` or have no label of 0 to k - 1 leave; without any row the loss is 0.
    Metrics: how often the own class has strictly the largest cosine, without margin; the number of
    rows.
    """
    cosine = blank_absent(cosine, present)
    margin, scale = (jnp.asarray(x).astype(cosine.dtype) for x in (margin, scale))
    sine = root(1.0 - cosine**2)
    farther = cosine * jnp.cos(margin) - sine * jnp.sin(margin)
    farther = jnp.where(cosine > -jnp.cos(margin), farther, cosine - margin * jnp.sin(margin))
    own = jax.nn.one_hot(jnp.maximum(labels, 0), cosine.shape[1], dtype=jnp.bool_)
    loss, _ = pseudo_label_loss(scale * jnp.where(own, farther, cosine), labels, present=present)
    _, metrics = pseudo_label_loss(cosine, labels, present=present)
    return loss, metrics
