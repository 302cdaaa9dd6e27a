"""Distillation of relations: the rows of a batch are to lie to each other as the teacher's do.

Features may be maps, which are flattened; student and teacher may differ in width. Rows with
`present` False leave as if they were not in the batch, whatever they hold. One row has no relation:
its loss is 0, as that of no row.

blocks: the rows are compared with all others in so many parts, one after the other (`by_blocks`),
which changes nothing but the memory. It divides the number of rows.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.blocks import by_blocks
from avssl.losses.contrastive import Rows, Scalar, cosines, is_itself, unit_rows
from avssl.losses.distillation import learner_and_constant, smooth_l1
from avssl.losses.precision import dot, widen
from avssl.losses.rows import blank_absent, mean_present

SIDES = ("student", "teacher")


def similarity_loss(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """Similarity-preserving distillation (Tung & Mori 2019, arXiv 1907.09682).

    ||G_t - G_s||_F^2 / b^2, G = F F^T with each row scaled to length 1; the features keep their
    lengths. Code: RepDistiller, `SP.py`, weight 3000, on the last map. A row of zeros stays zero.
    """
    sides = compared_sides(student, teacher, present)

    def of_rows(rows: Rows) -> Float[Array, "r"]:
        answer, target = (unit_rows(dot(rows[side], sides[side].T)) for side in SIDES)
        return jnp.sum((target - answer) ** 2, axis=1)

    return _mean_over_tuples(of_rows, sides, present, size=2, blocks=blocks)


def neighbour_congruence(
    student: Float[Array, "b d"], teacher: Float[Array, "b d"], *, present: Bool[Array, "b"]
) -> Scalar:
    """Correlation congruence as released: mean_i sum_d |s - t|_id |s - t|_(i+1)d, i + 1 the next row.

    Peng et al. 2019 (arXiv 1904.01802); code by the author in RepDistiller (`CC.py`, weight 0.02),
    which is what tables report as CC or COR. It is not the paper's loss: that is
    `kernel_congruence`. The order of the batch matters; next is the next row that is present.

    Both arguments learn: they are the outputs of two linear layers of one width (128), that of the
    teacher trained as well (`ProjectionMLP((128,))`). Stop the gradient at the teacher's features.
    Trap: the two layers may agree on a constant, where the loss is 0 and nothing is learnt.
    """
    student = blank_absent(student, present)
    teacher = blank_absent(teacher, present).astype(student.dtype)
    apart = jnp.abs(student - teacher)
    # Present rows first, in the order of the batch.
    order = jnp.argsort(~present, stable=True)
    apart, counted = apart[order], present[order]
    product = jnp.sum(apart[:-1] * apart[1:], axis=1)
    return mean_present(product, counted[:-1] & counted[1:])


def kernel_congruence(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    gamma: float = 0.4,
    order: int = 2,
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """Correlation congruence of the paper: ||K_t - K_s||_F^2 / b^2 (Peng et al., as above).

    K_ij = sum over p = 0 ... `order` of exp(-2 gamma) (2 gamma cos_ij)^p / p!, the Taylor series of
    the Gaussian kernel exp(-gamma ||x - y||^2) of rows of unit length. Form and constants are as
    recalled and as third parties have them (gamma 0.4, order 2); neither is verified, and no
    released code computes it.
    """
    sides = compared_sides(student, teacher, present)

    def kernel(rows: Float[Array, "r d"], others: Float[Array, "b d"]) -> Float[Array, "r b"]:
        scaled = 2.0 * gamma * cosines(rows, others)
        term = jnp.full_like(scaled, jnp.exp(-2.0 * gamma))
        series = term
        for power in range(1, order + 1):
            term = term * scaled / power
            series += term
        return series

    def of_rows(rows: Rows) -> Float[Array, "r"]:
        answer, target = (kernel(rows[side], sides[side]) for side in SIDES)
        both = rows["present"][:, None] & present[None, :]
        return jnp.sum(jnp.where(both, target - answer, 0.0) ** 2, axis=1)

    return _mean_over_tuples(of_rows, sides, present, size=2, blocks=blocks)


def relational_loss(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """Relational distillation (Park et al. 2019, arXiv 1904.05068); its two parts below.

    Code: RepDistiller, `RKD.py`, which weighs 25 and 50. A part of weight 0 is not computed.
    """
    loss = jnp.zeros((), widen(student).dtype)
    if distance_weight > 0:
        distance = relational_distance(student, teacher, present=present, blocks=blocks)
        loss += distance_weight * distance
    if angle_weight > 0:
        loss += angle_weight * relational_angle(student, teacher, present=present, blocks=blocks)
    return loss


def relational_distance(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """mean over b^2 pairs of smooth-L1(d_s / mean d_s, d_t / mean d_t), d the distance of two rows.

    The means of distances are over pairs of different rows, and the student's has its gradient. As
    released: the mean of the loss is over the b pairs of a row with itself too, smooth-L1 turns
    from square to line at 1, and squared distances are 1e-12 at least, so equal rows push nothing.
    """
    sides = compared_sides(student, teacher, present)

    def of_pairs(rows: Rows) -> tuple[Float[Array, "r b"], Float[Array, "r b"]]:
        """Both sides' distances of present rows; else 0."""
        pairs = rows["present"][:, None] & present[None, :]
        answer, target = (
            jnp.where(pairs, distances(rows[side], sides[side], rows["place"]), 0.0)
            for side in SIDES
        )
        return answer, target

    def totals(rows: Rows) -> tuple[Float[Array, "r"], Float[Array, "r"]]:
        answer, target = of_pairs(rows)
        return jnp.sum(answer, axis=1), jnp.sum(target, axis=1)

    num_present = jnp.sum(present.astype(sides["student"].dtype))
    num_pairs = jnp.maximum(num_present * (num_present - 1.0), 1.0)
    answers, targets = by_blocks(totals, numbered_sides(sides, present), blocks=blocks)
    means = [jnp.sum(total) / num_pairs for total in (answers, targets)]
    mean_answer, mean_target = (jnp.where(mean > 0.0, mean, 1.0) for mean in means)

    def of_rows(rows: Rows) -> Float[Array, "r"]:
        answer, target = of_pairs(rows)
        # A pair that does not count is 0 on both sides.
        apart = answer / mean_answer - target / mean_target
        return jnp.sum(smooth_l1(apart, quadratic_until=1.0), axis=1)

    return _mean_over_tuples(of_rows, sides, present, size=2, blocks=blocks)


def relational_angle(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """mean over b^3 triples of smooth-L1(cos_s, cos_t), the angle at row i between rows j and k.

    As released: the mean counts triples with equal rows as well. Where two rows coincide the angle
    is 0 and has no gradient. Memory grows with b^3 / blocks, without blocks 64 MB an array at 256 rows
    and 4 GB at 1024, and with b^2 d / blocks of the differences of rows: 128 MB an array at 256 rows
    of 512 features.
    """
    sides = compared_sides(student, teacher, present)

    def angles(rows: Rows, side: str) -> Float[Array, "r b b"]:
        unit = unit_rows(_differences(rows[side], sides[side], rows["place"]))
        return jnp.einsum("ijd,ikd->ijk", unit, unit, precision=jax.lax.Precision.HIGHEST)

    def of_rows(rows: Rows) -> Float[Array, "r"]:
        pairs = rows["present"][:, None] & present[None, :]
        triples = pairs[:, :, None] & present[None, None, :]
        error = smooth_l1(angles(rows, "student") - angles(rows, "teacher"), quadratic_until=1.0)
        return jnp.sum(jnp.where(triples, error, 0.0), axis=(1, 2))

    return _mean_over_tuples(of_rows, sides, present, size=3, blocks=blocks)


def compared_sides(
    student: Float[Array, "b *rest"], teacher: Float[Array, "b *other"], present: Bool[Array, "b"]
) -> Rows:
    """`learner_and_constant` of features that may be maps, flattened, by SIDES."""
    rows = learner_and_constant(student, teacher, present)
    return {side: flat.reshape(flat.shape[0], -1) for side, flat in zip(SIDES, rows, strict=True)}


def numbered_sides(sides: Rows, present: Bool[Array, "b"]) -> Rows:
    """What the losses ask of the rows of one block."""
    return {**sides, "present": present, "place": jnp.arange(present.shape[0])}


def distances(
    rows: Float[Array, "r d"], others: Float[Array, "b d"], place: Int[Array, "r"]
) -> Float[Array, "r b"]:
    """Euclidean distance of rows from all rows, 1e-6 at least; 0 from itself, which is others[place]."""
    square = square_distances(rows, others, place)
    # Neither the root nor the maximum has a gradient of use at 0: equal rows get none.
    apart = square > 1e-12
    far = jnp.sqrt(jnp.where(apart, square, 1e-12))
    return jnp.where(is_itself(place, others.shape[0]), 0.0, far)


def square_distances(
    rows: Float[Array, "r d"], others: Float[Array, "b d"], place: Int[Array, "r"]
) -> Float[Array, "r b"]:
    """Squared Euclidean distance of rows from all rows; exactly 0 from itself, others[place]."""
    return jnp.sum(_differences(rows, others, place) ** 2, axis=2)


def _differences(
    rows: Float[Array, "r d"], others: Float[Array, "b d"], place: Int[Array, "r"]
) -> Float[Array, "r b d"]:
    """x_j - x_i at [i, j]. From products, as |x|^2 + |y|^2 - 2 xy, near rows would be noise."""
    # A compiler may compute x twice, in another order: rounding has a direction, and so an angle.
    itself = is_itself(place, others.shape[0])[:, :, None]
    return jnp.where(itself, 0.0, others[None, :] - rows[:, None])


def _mean_over_tuples(
    of_rows: Callable[[Rows], Float[Array, "r"]],
    sides: Rows,
    present: Bool[Array, "b"],
    *,
    size: int,
    blocks: int,
) -> Scalar:
    """The sum of what `of_rows` says of each row over the number of tuples of present rows, at least 1."""
    totals = by_blocks(of_rows, numbered_sides(sides, present), blocks=blocks)
    num_present = jnp.sum(present.astype(totals.dtype))
    return jnp.sum(totals) / jnp.maximum(num_present, 1.0) ** size
