"""Compositional contrastive learning: distillation from teachers whose content may disagree.

Chen, Xian, Koepke, Shan & Akata 2021, "Distilling Audio-Visual Knowledge by Compositional
Contrastive Learning" (CVPR, arXiv 2104.10955; code: yanbeic/CCL, `loss/` and `training.py`). Each
frozen teacher (audio, image or both) has a composition, which mixes its feature with the student's
and learns from the labels; student, composition and teacher are then pulled together by class.

A branch is what belongs to one teacher, a dict of `present` [b]: has the clip both, student and
teacher; `teacher` [b, d], its feature; and what `models.composition.Composition` gives: `composed`
[b, d] and `logits` [b, k], and the same again as `composed_detached` and `logits_detached`, equal in
value but made without gradient to the student. Rows that are not present may hold anything.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.blocks import by_blocks
from avssl.losses.contrastive import Rows, Scalar, cosines, numbered, own_and_negatives
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.rows import blank_absent, mean_present

# Within the logarithms, as released: none falls below -23.03, so no negative costs more than that.
EPSILON = 1e-10
# Released, by teacher.
TEMPERATURES = {"audio": 0.5, "image": 0.1}

Branch = dict[str, Array]


def multi_class_nce(
    first: Float[Array, "b d"],
    second: Float[Array, "b d"],
    labels: Int[Array, "b"],
    *,
    temperature: float | Scalar,
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """Rows of `first` find the rows of `second` of their class and shun the others (`NCELoss`).

    With P_ij = softmax_j(cos(first_i, second_j) / temperature), loss = mean_i of
    - mean_{j: y_j = y_i} log(P_ij + 1e-10) - mean_{j: y_j != y_i} log(1 - P_ij + 1e-10); the row
    itself is among its positives. Not symmetric: the sum of both orders is what CCL trains.
    blocks: the rows are compared with all others in so many parts, one after the other (`by_blocks`).

    Departures, which change nothing in a complete, labelled batch of several classes: rows that are
    not `present` or have no label (below 0) leave, as rows and as columns; a row without negatives
    has no second term (0 / 0 as released); without any row the loss is 0.
    """
    counted = present & (labels >= 0)
    first, second = blank_absent(first, counted), blank_absent(second, counted)

    def of_rows(rows: Rows) -> Float[Array, "r"]:
        similarity = cosines(rows["first"], second)
        logits = similarity / jnp.asarray(temperature).astype(similarity.dtype)
        own, other_classes = own_and_negatives(rows, labels, counted)
        # A row's own column always counts, so that an absent row has a finite (and unused) loss.
        share = jax.nn.softmax(logits, axis=1, where=counted[None, :] | own)
        both = rows["present"][:, None] & counted[None, :]
        # Where a division is rounded upwards a share can pass 1.
        others = jnp.maximum(1.0 - share, 0.0)
        mean = jax.vmap(mean_present)
        attracted = mean(jnp.log(share + EPSILON), both & ~other_classes)
        repelled = mean(jnp.log(others + EPSILON), other_classes)
        return -attracted - repelled

    rows = {**numbered(labels, counted), "first": first}
    return mean_present(by_blocks(of_rows, rows, blocks=blocks), counted)


def jeffreys_divergence(
    first_logits: Float[Array, "b k"],
    second_logits: Float[Array, "b k"],
    *,
    present: Bool[Array, "b"],
) -> Scalar:
    """Half the symmetric Kullback-Leibler divergence of two predictions, the class-aware term.

    0.5 mean_i sum_k p log(p / q + 1e-10) + q log(q / p + 1e-10), with gradient to both. Paper and
    code call it the Jensen-Shannon divergence, which it is not (`JSDLoss`, weight 0.5). Computed
    from logarithms, which cannot overflow. Absent rows leave; without any row it is 0.
    """
    first, second = (
        jax.nn.log_softmax(blank_absent(x, present)) for x in (first_logits, second_logits)
    )
    gap, floor = first - second, jnp.log(jnp.asarray(EPSILON, first.dtype))
    forward = jnp.exp(first) * jnp.logaddexp(gap, floor)
    backward = jnp.exp(second) * jnp.logaddexp(-gap, floor)
    return 0.5 * mean_present(jnp.sum(forward + backward, axis=1), present)


def compositional_loss(
    student: Float[Array, "b d"],
    student_logits: Float[Array, "b k"],
    labels: Int[Array, "b"],
    branches: dict[str, Branch],
    *,
    present: Bool[Array, "b"],
    temperatures: dict[str, float] | None = None,
    distillation_weight: float | None = None,
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """The whole step of CCL as one scalar, L_v(v, m) + sum over teachers of L_t(stop(v), m).

    With v the student, t a teacher, m their composition, and each NCE summed over both orders,
    L_v = CE(v) + w sum_t [NCE(v, m) + NCE(v, t) + J(v, m)] and
    L_t = CE(m) + NCE(v, m) + NCE(m, t) + J(v, m), J being the Jeffreys divergence.
    The released code passes back L_t first, then sets the gradients of the student alone to 0 and
    passes back L_v: the student learns from L_v, through m too, and the composition from the sum of
    both. (Its first version stepped the composition between the two, by L_t alone; PyTorch refuses
    that today.) A teacher never has a gradient.

    `temperatures` of the NCE by teacher: 0.5 for audio, 0.1 for image, or give others. w
    (`distillation_weight`) is 1 for one teacher and 0.5 for two, or 1 / their number; L_t has no
    such weight. The paper's weighting of the terms is not verified. `blocks`: of each NCE.

    Rows leave a branch where it or the student is not `present`, and leave the whole without a
    label of 0 to k - 1. `present` is the student's.
    Metrics: both sides' losses, the terms of each teacher, accuracies, and how many rows counted.
    """
    temperatures = TEMPERATURES if temperatures is None else temperatures
    known = present & (labels >= 0) & (labels < student_logits.shape[1])
    if distillation_weight is None:
        distillation_weight = 1.0 / max(len(branches), 1)
    student_loss, metrics = pseudo_label_loss(student_logits, labels, present=present)
    metrics["classification"] = student_loss
    composition_loss = jnp.zeros((), student_loss.dtype)
    for name in sorted(branches):
        branch = branches[name]
        counted = known & branch["present"]
        teacher = jax.lax.stop_gradient(branch["teacher"])
        options = {
            "labels": labels,
            "temperature": temperatures[name],
            "present": counted,
            "blocks": blocks,
        }
        of_student = {
            "student_composed": _both_orders(student, branch["composed"], **options),
            "student_teacher": _both_orders(student, teacher, **options),
            "divergence": jeffreys_divergence(student_logits, branch["logits"], present=counted),
        }
        student_loss += distillation_weight * (
            of_student["student_composed"]
            + of_student["student_teacher"]
            + of_student["divergence"]
        )
        composed, logits = branch["composed_detached"], branch["logits_detached"]
        classification, found = pseudo_label_loss(logits, labels, present=counted)
        composed_teacher = _both_orders(composed, teacher, **options)
        branch_loss = (
            classification
            + _both_orders(jax.lax.stop_gradient(student), composed, **options)
            + composed_teacher
            + jeffreys_divergence(jax.lax.stop_gradient(student_logits), logits, present=counted)
        )
        composition_loss += branch_loss
        found |= of_student | {
            "composed_teacher": composed_teacher,
            "classification": classification,
            "composition_loss": branch_loss,
        }
        metrics |= {f"{name}_{key}": value for key, value in found.items()}
    metrics["student_loss"] = student_loss
    return student_loss + composition_loss, metrics


def _both_orders(
    first: Float[Array, "b d"],
    second: Float[Array, "b d"],
    *,
    labels: Int[Array, "b"],
    **options: Any,
) -> Scalar:
    forward = multi_class_nce(first, second, labels, **options)
    return forward + multi_class_nce(second, first, labels, **options)
