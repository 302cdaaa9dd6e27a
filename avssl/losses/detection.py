"""Detection on anchors: what lies at each of them, and where exactly."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.anchors import assign_anchors, offsets_of_boxes
from avssl.losses.contrastive import Scalar
from avssl.losses.distillation import smooth_l1
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present


def detection_loss(
    logits: Float[Array, "b a c"],
    offsets: Float[Array, "b a 4"],
    *,
    anchors: Float[Array, "a 4"],
    boxes: Float[Array, "b m 4"],
    labels: Int[Array, "b m"],
    known: Bool[Array, "b m"],
    alpha: float = 0.25,
    gamma: float = 2.0,
    quadratic_until: float = 1 / 9,
    least_probability: float = 0.0,
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """EfficientDet's loss, of a picture's boxes: MM-DistillNet's (Valverde et al. 2021, arXiv
    2103.01353; code: `src/loss/YetAnotherFocalLoss.py`).

    Anchors stand for boxes or the background as `assign_anchors` says. A picture's loss is the sum
    of `focal_loss` over its anchors and classes divided by the number of its positive anchors, at
    least 1, plus the mean of `smooth_l1` over the positive anchors' four offsets (0 without any).
    The loss is the mean over pictures. So a picture without boxes counts by the whole sum of its
    background, and may outweigh a batch: as released. `boxes` (pixels), `labels` and `known` are
    padded to the same number for all pictures.

    The released code clamps probabilities to [1e-4, 1 - 1e-4] (`least_probability=1e-4`), beyond
    which they take no gradient: an object called impossible is never learnt. Logits need no clamp.

    Departures: rows with `present` False leave, whatever they hold; without any the loss is 0.
    Metrics: both parts, and positive anchors per picture.
    """
    known = known & present[:, None]
    boxes = jnp.where(known[:, :, None], widen(boxes), 0.0)
    logits, offsets = (blank_absent(x, present) for x in (logits, offsets))
    boxes, anchors = boxes.astype(offsets.dtype), anchors.astype(offsets.dtype)
    nearest, positive, background = assign_anchors(anchors, boxes, known=known)

    label = jnp.take_along_axis(labels, nearest, axis=1)
    classes = jnp.arange(logits.shape[-1], dtype=label.dtype)
    is_class = positive[:, :, None] & (label[:, :, None] == classes[None, None])
    if least_probability:
        least = jnp.asarray(least_probability, logits.dtype)
        limit = jnp.log1p(-least) - jnp.log(least)
        logits = jnp.clip(logits, -limit, limit)
    focal = jnp.sum(focal_loss(logits, is_class, alpha=alpha, gamma=gamma), axis=2)
    focal = jnp.where(positive | background, focal, 0.0)
    num_positives = jnp.sum(positive.astype(focal.dtype), axis=1)
    classification = jnp.sum(focal, axis=1) / jnp.maximum(num_positives, 1.0)

    own_box = jnp.take_along_axis(boxes, nearest[:, :, None], axis=1)
    error = smooth_l1(offsets - offsets_of_boxes(anchors, own_box), quadratic_until=quadratic_until)
    error = jnp.where(positive, jnp.mean(error, axis=2), 0.0)
    regression = jnp.sum(error, axis=1) / jnp.maximum(num_positives, 1.0)

    metrics = {
        "classification_loss": mean_present(classification, present),
        "regression_loss": mean_present(regression, present),
        "num_positive_anchors": mean_present(num_positives, present),
    }
    return metrics["classification_loss"] + metrics["regression_loss"], metrics


def focal_loss(
    logits: Float[Array, "*shape"], is_class: Bool[Array, "*shape"], *, alpha: float, gamma: float
) -> Float[Array, "*shape"]:
    """Binary cross-entropies that fade where the answer is right already (Lin et al. 2017, eq. 5).

    -a (1 - p)^gamma log p, with p the sigmoid of the logit and a = alpha for a class that is there,
    1 - p and 1 - alpha for one that is not (arXiv 1708.02002; alpha 0.25, gamma 2).
    """
    right = jnp.where(is_class, logits, -logits)
    balance = jnp.where(is_class, alpha, 1.0 - alpha)
    # The power as an exponential: its gradient exists at p = 1 too.
    return -balance * jnp.exp(gamma * jax.nn.log_sigmoid(-right)) * jax.nn.log_sigmoid(right)
