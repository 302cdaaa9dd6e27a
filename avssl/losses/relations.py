"""Distillation of relations: the rows of a batch are to lie to each other as the teacher's do.

Features may be maps, which are flattened; student and teacher may differ in width. Rows with
`present` False leave as if they were not in the batch, whatever they hold. One row has no relation:
its loss is 0, as that of no row.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.contrastive import Scalar, cosines, unit_rows
from avssl.losses.distillation import learner_and_constant, smooth_l1
from avssl.losses.precision import dot, widen
from avssl.losses.rows import blank_absent, mean_present


def similarity_loss(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    present: Bool[Array, "b"],
) -> Scalar:
    """Similarity-preserving distillation (Tung & Mori 2019, arXiv 1907.09682).

    ||G_t - G_s||_F^2 / b^2, G = F F^T with each row scaled to length 1; the features keep their
    lengths. Code: RepDistiller, `SP.py`, weight 3000, on the last map. A row of zeros stays zero.
    """
    student, teacher = learner_and_constant(student, teacher, present)
    difference = _unit_products(teacher) - _unit_products(student)
    return jnp.sum(difference**2) / _num_tuples(present, 2, student.dtype)


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
) -> Scalar:
    """Correlation congruence of the paper: ||K_t - K_s||_F^2 / b^2 (Peng et al., as above).

    K_ij = sum over p = 0 ... `order` of exp(-2 gamma) (2 gamma cos_ij)^p / p!, the Taylor series of
    the Gaussian kernel exp(-gamma ||x - y||^2) of rows of unit length. Form and constants are as
    recalled and as third parties have them (gamma 0.4, order 2); neither is verified, and no
    released code computes it.
    """
    student, teacher = learner_and_constant(student, teacher, present)

    def kernel(rows: Float[Array, "b *rest"]) -> Float[Array, "b b"]:
        flat = rows.reshape(rows.shape[0], -1)
        scaled = 2.0 * gamma * cosines(flat, flat)
        term = jnp.full_like(scaled, jnp.exp(-2.0 * gamma))
        series = term
        for power in range(1, order + 1):
            term = term * scaled / power
            series += term
        return series

    pairs = (present[:, None] & present[None, :]).astype(student.dtype)
    difference = (kernel(teacher) - kernel(student)) * pairs
    return jnp.sum(difference**2) / _num_tuples(present, 2, student.dtype)


def relational_loss(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    present: Bool[Array, "b"],
) -> Scalar:
    """Relational distillation (Park et al. 2019, arXiv 1904.05068); its two parts below.

    Code: RepDistiller, `RKD.py`, which weighs 25 and 50. A part of weight 0 is not computed.
    """
    loss = jnp.zeros((), widen(student).dtype)
    if distance_weight > 0:
        loss += distance_weight * relational_distance(student, teacher, present=present)
    if angle_weight > 0:
        loss += angle_weight * relational_angle(student, teacher, present=present)
    return loss


def relational_distance(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    present: Bool[Array, "b"],
) -> Scalar:
    """mean over b^2 pairs of smooth-L1(d_s / mean d_s, d_t / mean d_t), d the distance of two rows.

    The means of distances are over pairs of different rows, and the student's has its gradient. As
    released: the mean of the loss is over the b pairs of a row with itself too, smooth-L1 turns
    from square to line at 1, and squared distances are 1e-12 at least, so equal rows push nothing.
    """
    student, teacher = learner_and_constant(student, teacher, present)
    different = ~jnp.eye(present.shape[0], dtype=bool)
    pairs = present[:, None] & present[None, :] & different

    def relative(distance: Float[Array, "b b"]) -> Float[Array, "b b"]:
        mean = mean_present(distance, pairs)
        return distance / jnp.where(mean > 0.0, mean, 1.0)

    apart = relative(distances(student)) - relative(distances(teacher))
    error = jnp.where(pairs, smooth_l1(apart, quadratic_until=1.0), 0.0)
    return jnp.sum(error) / _num_tuples(present, 2, student.dtype)


def relational_angle(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    present: Bool[Array, "b"],
) -> Scalar:
    """mean over b^3 triples of smooth-L1(cos_s, cos_t), the angle at row i between rows j and k.

    As released: the mean counts triples with equal rows as well. Where two rows coincide the angle
    is 0 and has no gradient. Memory grows with b^3, 64 MB an array at 256 rows and 4 GB at 1024, and
    with b^2 d of the differences of all rows: 128 MB an array at 256 rows of 512 features.
    """
    student, teacher = learner_and_constant(student, teacher, present)

    def angles(rows: Float[Array, "b *rest"]) -> Float[Array, "b b b"]:
        unit = unit_rows(_differences(rows))
        return jnp.einsum("ijd,ikd->ijk", unit, unit, precision=jax.lax.Precision.HIGHEST)

    pairs = present[:, None] & present[None, :]
    triples = (pairs[:, :, None] & present[None, None, :]).astype(student.dtype)
    error = smooth_l1(angles(student) - angles(teacher), quadratic_until=1.0) * triples
    return jnp.sum(error) / _num_tuples(present, 3, student.dtype)


def distances(rows: Float[Array, "b *rest"]) -> Float[Array, "b b"]:
    """Euclidean distance of every row from every other, 1e-6 at least; 0 from itself."""
    square = square_distances(rows)
    itself = jnp.eye(rows.shape[0], dtype=bool)
    # Neither the root nor the maximum has a gradient of use at 0: equal rows get none.
    apart = square > 1e-12
    return jnp.where(itself, 0.0, jnp.sqrt(jnp.where(apart, square, 1e-12)))


def square_distances(rows: Float[Array, "b *rest"]) -> Float[Array, "b b"]:
    """Squared Euclidean distance of every row from every other."""
    return jnp.sum(_differences(rows) ** 2, axis=2)


def _differences(rows: Float[Array, "b *rest"]) -> Float[Array, "b b d"]:
    """x_j - x_i at [i, j]. From products, as |x|^2 + |y|^2 - 2 xy, near rows would be noise."""
    flat = rows.reshape(rows.shape[0], -1)
    # A compiler may compute x twice, in another order: rounding has a direction, and so an angle.
    itself = jnp.eye(rows.shape[0], dtype=bool)[:, :, None]
    return jnp.where(itself, 0.0, flat[None, :] - flat[:, None])


def _unit_products(rows: Float[Array, "b *rest"]) -> Float[Array, "b b"]:
    flat = rows.reshape(rows.shape[0], -1)
    return unit_rows(dot(flat, flat.T))


def _num_tuples(present: Bool[Array, "b"], size: int, dtype: jnp.dtype) -> Scalar:
    """How many tuples of present rows there are, at least 1."""
    return jnp.maximum(jnp.sum(present.astype(dtype)), 1.0) ** size
