"""Multimodal knowledge expansion: a teacher of one modality labels clips, a student of more learns.

Xue, Ren, Gao & Zhao 2021 (ICCV, arXiv 2103.14431; code: zihuixue/MKE, a notebook on two moons). The
teacher labels the clips once, as they are; the student sees them transformed. That regularisation
is what lets it end up better than its teacher: without it, it learns the teacher's errors too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar
from avssl.losses.distillation import softened_divergence
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.rows import blank_absent, mean_present


def hard_labels(
    teacher_logits: Float[Array, "b k"], *, present: Bool[Array, "b"]
) -> Int[Array, "b"]:
    """The teacher's class of each row, of equals the first; -1 (no label) where absent."""
    labels = jnp.argmax(blank_absent(teacher_logits, present), axis=1).astype(jnp.int32)
    return jnp.where(present, labels, -1)


def relative_noise(
    x: Float[Array, "b *rest"],
    noise: Float[Array, "b *rest"],
    *,
    scale: float | Scalar,
    present: Bool[Array, "b"],
) -> Float[Array, "b *rest"]:
    """x + scale * mean |x| * noise: the transformation of the released code, for standard normal noise.

    The mean is one number, over all present rows and all features. Released: scale (alpha) 1 on the
    student's input, drawn anew in every step; 0 (beta) on its hidden layer. Absent rows come back
    as zeros; x keeps its dtype.
    """
    counted = present.reshape(-1, *(1,) * (x.ndim - 1))
    wide = blank_absent(x, present)
    size = jnp.mean(jnp.abs(wide).reshape(x.shape[0], -1), axis=1)
    reach = jnp.asarray(scale).astype(wide.dtype) * mean_present(size, present)
    moved = wide + reach * noise.astype(wide.dtype)
    return jnp.where(counted, moved, 0.0).astype(x.dtype)


def expansion_loss(
    transformed_logits: Float[Array, "b k"],
    labels: Int[Array, "b"] | Float[Array, "b k"],
    *,
    present: Bool[Array, "b"],
    clean_logits: Float[Array, "b k"] | None = None,
    consistency_weight: float = 0.0,
) -> tuple[Scalar, dict[str, Scalar]]:
    """CE(f(T(x)), labels) + consistency_weight * mean_i KL(f(x_i) || f(T(x_i))), f being the student.

    `labels` are the teacher's: hard ones (released), or its probabilities [b, k]. The released code
    has the first term alone, on which the paper falls back as well; the second is its regulariser,
    whose form is not known here: Kullback-Leibler with the clean side fixed is a choice. It needs
    `clean_logits`, those of the same student for the clips as they are.

    Rows that are not `present` leave, from the first term those without a label of 0 to k - 1 too;
    without any row the loss is 0. Metrics: how often the student agrees with the teacher's label,
    the consistency, where there is one, and how many rows there are.
    """
    if labels.ndim == 1:
        loss, metrics = pseudo_label_loss(transformed_logits, labels, present=present)
    else:
        share = jax.lax.stop_gradient(blank_absent(labels, present))
        hard = hard_labels(share, present=present)
        _, metrics = pseudo_label_loss(transformed_logits, hard, present=present)
        log_share = jax.nn.log_softmax(blank_absent(transformed_logits, present))
        loss = mean_present(-jnp.sum(share * log_share, axis=1), present)
    if consistency_weight:
        if clean_logits is None:
            raise ValueError("consistency needs the student's logits for the clips as they are")
        metrics["consistency"] = softened_divergence(
            transformed_logits, clean_logits, temperature=1.0, present=present
        )
        loss += consistency_weight * metrics["consistency"]
    return loss, metrics
