"""The boxes that a detector means, on the device: a list of one length, the surest first."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from avssl.losses.anchors import box_overlaps


def suppressed(
    boxes: Float[Array, "n 4"],
    scores: Float[Array, "n"],
    *,
    apart: Bool[Array, "n n"] | None = None,
    overlap: float = 0.5,
) -> Bool[Array, "n"]:
    """Non-maximum suppression of one picture's boxes, which come the surest first: which ones stay.

    A box goes if one before it that stays overlaps it by more than `overlap`, and so does one without any
    score. `apart`: pairs that never suppress each other, as of two classes. `data.boxes.suppressed` is the same
    for lists of any length.
    """
    rivals = box_overlaps(boxes, boxes[None])[0] > overlap
    if apart is not None:
        rivals &= ~apart

    def decide(place: Array, kept: Array) -> Array:
        beaten = jnp.any(kept & rivals[place] & (jnp.arange(len(kept)) < place))
        return kept.at[place].set(kept[place] & ~beaten)

    return jax.lax.fori_loop(0, len(scores), decide, scores > 0)


def surest_boxes(
    boxes: Float[Array, "b n 4"],
    scores: Float[Array, "b n"],
    labels: Shaped[Array, "b n"],
    *,
    number: int,
    candidates: int,
    least_score: float = 0.0,
    overlap: float = 0.5,
    by_class: bool = True,
) -> Float[Array, "b k 6"]:
    """The `number` surest boxes of each picture: x0, y0, x1, y1, score, class; zeros where there are fewer.

    Of the `candidates` surest those that `suppressed` leaves, if their score is above `least_score`.
    `by_class`: a box only suppresses others of its class.
    """

    def of_picture(boxes: Array, scores: Array, labels: Array) -> Array:
        scores = jnp.where(scores > least_score, scores, 0.0)
        scores, order = jax.lax.top_k(scores, min(candidates, len(scores)))
        boxes, labels = boxes[order], labels[order].astype(scores.dtype)
        apart = (labels[:, None] != labels[None]) if by_class else None
        kept = suppressed(boxes, scores, apart=apart, overlap=overlap)
        scores = jnp.where(kept, scores, 0.0)
        scores, order = jax.lax.top_k(scores, min(number, len(scores)))
        listed = jnp.concatenate([boxes[order], scores[:, None], labels[order, None]], axis=1)
        listed = jnp.where(scores[:, None] > 0, listed, 0.0)
        return jnp.pad(listed, ((0, number - len(listed)), (0, 0)))

    return jax.vmap(of_picture)(boxes, scores, labels)
