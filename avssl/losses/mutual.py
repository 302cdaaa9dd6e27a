"""Mutual learning of an audio-visual teacher and a student of one modality, from scratch and at once.

Yin et al. 2021, "Enhanced Audio Tagging via Multi- to Single-Modal Teacher-Student Mutual Learning"
(AAAI). There is no public code and the text was not at hand: the abstract names the two transfer
terms, all else here is our reading of it, in the manner of deep mutual learning (Zhang et al. 2018,
arXiv 1706.00384). Tags are many at once: sigmoids, never softmax.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar
from avssl.losses.precision import widen
from avssl.losses.rows import blank_absent, mean_present


def bernoulli_divergence(
    target_logits: Float[Array, "b c"], logits: Float[Array, "b c"]
) -> Float[Array, "b"]:
    """KL(target || prediction) of independent tags, summed over tags; no gradient to the target."""
    target = jax.lax.stop_gradient(target_logits)
    share = jax.nn.sigmoid(target)
    has = share * (jax.nn.log_sigmoid(target) - jax.nn.log_sigmoid(logits))
    has_not = (1.0 - share) * (jax.nn.log_sigmoid(-target) - jax.nn.log_sigmoid(-logits))
    return jnp.sum(has + has_not, axis=1)


def tag_cross_entropy(
    logits: Float[Array, "b c"], tags: Float[Array, "b c"], known: Bool[Array, "b c"]
) -> Float[Array, "b"]:
    """Binary cross-entropy of tags from 0 to 1, summed over those that are known."""
    return jnp.sum(jax.nn.softplus(logits) - logits * tags, axis=1, where=known)


def mutual_loss(
    student_logits: Float[Array, "b c"],
    teacher_logits: Float[Array, "b c"],
    student_embedding: Float[Array, "b d"],
    teacher_branch: Float[Array, "b d"],
    tags: Float[Array, "b c"],
    *,
    single_modal_weight: float | Scalar = 1.0,
    cross_modal_weight: float | Scalar = 1.0,
    one_way: bool = False,
    student_present: Bool[Array, "b"],
    other_present: Bool[Array, "b"],
    known: Bool[Array, "b c"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """BCE(student) + BCE(teacher) + a single-modal + b cross-modal transfer, one scalar for both.

    Single-modal: |h - g|^2, h the student's embedding and g that of the teacher's branch for the
    student's modality (sound, in the paper), with gradient to both. Cross-modal: KL(teacher ||
    student) + KL(student || teacher) of the tags that the student gives and the fused teacher, each
    without gradient to its first, so that either side meets one of them: else both could settle on
    what is easiest. All terms are sums over tags or features and means over rows; the weights 1 are
    ours, and so is that both sides step at once rather than in turn.

    The teacher starts from nothing: give weights of 0 until it has learnt from labels for a while.
    `one_way`: the student alone learns from the transfer, as in plain distillation, and the second
    divergence, which teaches the teacher, is left out. `single_modal_weight=0` is mutual learning
    without that term, both 0 the student alone.

    Terms of the student and the single-modal one take the rows that have its modality, those of the
    fused teacher and the cross-modal one the rows that have both, cross-entropies those of them
    that have tags that are `known`, of those tags; others may hold anything. Without any row a term
    is 0. Metrics: the four terms, and how many rows have the student's modality, both, and tags for
    the student.
    """
    both = student_present & other_present
    labelled = jnp.any(known, axis=1)
    heard = student_present & labelled
    tags = jnp.where(known & student_present[:, None], widen(tags), 0.0)
    student, embedding, branch = (
        blank_absent(x, student_present)
        for x in (student_logits, student_embedding, teacher_branch)
    )
    teacher = blank_absent(teacher_logits, both)
    taught = jax.lax.stop_gradient(branch) if one_way else branch
    crossed = bernoulli_divergence(teacher, student)
    if not one_way:
        crossed += bernoulli_divergence(student, teacher)
    metrics = {
        "student_classification": mean_present(tag_cross_entropy(student, tags, known), heard),
        "teacher_classification": mean_present(
            tag_cross_entropy(teacher, tags, known), both & labelled
        ),
        "single_modal": mean_present(jnp.sum((embedding - taught) ** 2, axis=1), student_present),
        "cross_modal": mean_present(crossed, both),
    }
    single_modal_weight, cross_modal_weight = (
        jnp.asarray(weight).astype(student.dtype)
        for weight in (single_modal_weight, cross_modal_weight)
    )
    loss = (
        metrics["student_classification"]
        + metrics["teacher_classification"]
        + single_modal_weight * metrics["single_modal"]
        + cross_modal_weight * metrics["cross_modal"]
    )
    counts = {"num_rows": student_present, "num_pairs": both, "num_labelled": heard}
    metrics |= {name: jnp.sum(rows.astype(student.dtype)) for name, rows in counts.items()}
    return loss, metrics
