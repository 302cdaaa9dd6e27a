"""Distillation at three levels: of labels, of embeddings, and of their distribution.

Zhang, Chen & Qian 2021, "Knowledge Distillation from Multi-Modality to Single-Modality for Person
Verification" (Interspeech). There is no public code and the text was not at hand: the three levels
are the paper's, their formulas, weights and constants our reading, not verified. The teacher is
frozen: nothing here gives it a gradient. Rows that are not `present` may hold anything.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.blocks import by_blocks
from avssl.losses.contrastive import (
    Rows,
    Scalar,
    cosines,
    masked_log_softmax,
    numbered,
    own_and_negatives,
    unit_rows,
)
from avssl.losses.distillation import softened_divergence
from avssl.losses.precision import dot
from avssl.losses.rows import blank_absent, mean_present

DISTRIBUTIONS = ("similarity", "moments", "kernel")


def embedding_level(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], *, present: Bool[Array, "b"]
) -> Scalar:
    """mean_i |teacher_i - student_i|^2 of rows of length 1: twice the mean of 1 - cosine."""
    student, teacher = _unit_pair(student, teacher, present)
    return mean_present(jnp.sum((teacher - student) ** 2, axis=1), present)


def similarity_level(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b e"],
    *,
    temperature: float | Scalar = 0.1,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """mean_i KL(teacher's || student's) of softmax_{j != i}(cos(x_i, x_j) / temperature).

    How each row is like the others, as PKT and RKD compare it. The row itself and others of its
    record are left out: they would take all the mass. Rows without any other do not count. The two
    sides may differ in size. blocks: the rows are compared with all others in so many parts, one
    after the other (`by_blocks`).
    """
    sides = {
        "student": blank_absent(student, present),
        "teacher": jax.lax.stop_gradient(blank_absent(teacher, present)),
    }

    def of_rows(rows: Rows) -> tuple[Float[Array, "r"], Bool[Array, "r"]]:
        own, others = own_and_negatives(rows, index, present)
        compared = jnp.any(others, axis=1)
        # A row without others sees itself, so that it has a finite (and unused) divergence.
        counted = others | (own & ~compared[:, None])

        def log_shares(side: str) -> Float[Array, "r b"]:
            logits = cosines(rows[side], sides[side])
            heat = jnp.asarray(temperature).astype(logits.dtype)
            return masked_log_softmax(logits / heat, counted)

        log_teacher, log_student = log_shares("teacher"), log_shares("student")
        divergence = jnp.where(counted, jnp.exp(log_teacher) * (log_teacher - log_student), 0.0)
        return jnp.sum(divergence, axis=1), compared

    rows = {**numbered(index, present), **sides}
    return mean_present(*by_blocks(of_rows, rows, blocks=blocks))


def moment_level(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], *, present: Bool[Array, "b"]
) -> Scalar:
    """|mean_t - mean_s|^2 + |C_t - C_s|_F^2 of rows of length 1, C their covariance.

    As CORAL (Sun & Saenko 2016, arXiv 1607.01719), which compares C alone, of rows of any length,
    over 4 d^2. The covariance divides by the number of rows, so that one row has one.
    """
    count = jnp.maximum(jnp.sum(present.astype(jnp.float32)), 1.0)

    def moments(rows: Float[Array, "b d"]) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
        mean = jnp.sum(rows, axis=0) / count.astype(rows.dtype)
        centred = blank_absent(rows - mean[None], present)
        return mean, dot(centred.T, centred) / count.astype(rows.dtype)

    (mean_s, cov_s), (mean_t, cov_t) = map(moments, _unit_pair(student, teacher, present))
    return jnp.sum((mean_t - mean_s) ** 2) + jnp.sum((cov_t - cov_s) ** 2)


def kernel_level(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], *, present: Bool[Array, "b"]
) -> Scalar:
    """The squared maximum mean discrepancy of rows of length 1 under the kernel (x . y)^2.

    mean k(t, t) + mean k(s, s) - 2 mean k(s, t) over all pairs of rows, each with itself as well,
    as in NST (Huang & Wang 2017, arXiv 1707.01219), whose rows are maps of channels. With this
    kernel it is |M_t - M_s|_F^2, M = mean x x^T: so it is computed, without differences of means.
    """
    count = jnp.maximum(jnp.sum(present.astype(jnp.float32)), 1.0)
    student, teacher = _unit_pair(student, teacher, present)
    gap = dot(teacher.T, teacher) - dot(student.T, student)
    return jnp.sum((gap / count.astype(gap.dtype)) ** 2)


def three_level_loss(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b e"],
    student_logits: Float[Array, "b k"],
    teacher_logits: Float[Array, "b k"],
    *,
    answer: Float[Array, "b e"] | None = None,
    label_weight: float = 1.0,
    embedding_weight: float = 1.0,
    distribution_weight: float = 1.0,
    distribution: str = "similarity",
    label_temperature: float | Scalar = 4.0,
    similarity_temperature: float | Scalar = 0.1,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """a label level + b embedding level + c distribution level, what is added to classification.

    That is `additive_angular_margin`. `distribution` is "similarity", or "moments" or "kernel",
    which like the embedding level need embeddings of one size: they take `answer` for the student's
    where it is given, its embedding as some layer brings it to the teacher's size. A level of
    weight 0 is left out; the weights 1 are ours: a hard constraint like the embedding level may
    well want less. The label
    level is `softened_divergence` of logits without a margin: cosines times 32 are nearly one-hot,
    so keep its temperature at 4 or more, or give the cosines as they are. `blocks`: of "similarity".
    Metrics: each level without its weight, and how many rows there are.
    """
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"distribution is one of {', '.join(DISTRIBUTIONS)}, not '{distribution}'")
    sized = student if answer is None else answer
    levels = {}
    if label_weight:
        levels["label"] = (
            label_weight,
            softened_divergence(
                student_logits, teacher_logits, temperature=label_temperature, present=present
            ),
        )
    if embedding_weight:
        levels["embedding"] = embedding_weight, embedding_level(sized, teacher, present=present)
    if distribution_weight:
        if distribution == "similarity":
            level = similarity_level(
                student, teacher, temperature=similarity_temperature, index=index, present=present,
                blocks=blocks,
            )  # fmt: skip
        else:
            compare = moment_level if distribution == "moments" else kernel_level
            level = compare(sized, teacher, present=present)
        levels["distribution"] = distribution_weight, level
    num_rows = jnp.sum(present.astype(unit_rows(student[:1]).dtype))
    loss = sum((weight * level for weight, level in levels.values()), jnp.zeros_like(num_rows))
    return loss, {name: level for name, (_, level) in levels.items()} | {"num_rows": num_rows}


def _unit_pair(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], present: Bool[Array, "b"]
) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
    student, teacher = (unit_rows(blank_absent(x, present)) for x in (student, teacher))
    return student, jax.lax.stop_gradient(teacher)
