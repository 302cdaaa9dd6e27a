"""Distillation of neighbourhoods: how likely each row of a batch picks each other by similarity.

A kernel of the features, each row divided by its sum, is a distribution over the batch; the
student's is to be the teacher's. A row is its own neighbour too, as released. Features may be maps,
which are flattened; student and teacher may differ in width. Rows with `present` False leave as if
they were not in the batch, whatever they hold; without any row, or with one, the losses are 0.
The kernels of distances hold the differences of all rows, b^2 d numbers of either side: 128 MB at
256 rows of 512 features. The cosine kernel needs b^2. `blocks` (see `relations.py`) divides both.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avssl.losses.blocks import by_blocks
from avssl.losses.contrastive import Rows, Scalar, cosines, is_itself, masked_log_softmax
from avssl.losses.relations import SIDES, compared_sides, numbered_sides, square_distances
from avssl.losses.rows import mean_present

KERNELS = ("cosine", "student_t", "cauchy", "rbf", "adaptive_rbf")
DIVERGENCES = ("jeffreys", "kl")
# Opposite rows have cosine kernel 0, which has no logarithm; float32 cosines are no finer than this.
LEAST_COSINE_KERNEL = 1e-7
# Added to squared distances, as released: the root has no gradient at 0.
SQUARE_EPSILON = 1e-6


def probabilistic_transfer(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    present: Bool[Array, "b"],
    epsilon: float = 1e-7,
    blocks: int = 1,
) -> Scalar:
    """Probabilistic knowledge transfer (Passalis & Tefas 2018, arXiv 1803.10837).

    mean over b^2 pairs of p log((p + 1e-7) / (q + 1e-7)), p and q the distributions of teacher and
    student under the kernel (cos + 1) / 2. Code: probabilistic_kt, and RepDistiller, `PKT.py`,
    weight 30000: large because the mean is over the pairs, not over the rows.
    """
    sides = compared_sides(student, teacher, present)

    def of_rows(rows: Rows) -> Float[Array, "r"]:
        answer, target = (
            jnp.exp(neighbour_log_probabilities(rows, side, sides, "cosine", present=present))
            for side in SIDES
        )
        each = _divergence(target, answer, (target - answer) / (answer + epsilon))
        return _means(each, present)

    rows = numbered_sides(sides, present)
    return mean_present(by_blocks(of_rows, rows, blocks=blocks), present)


def information_flow(
    student: Float[Array, "b *rest"],
    teacher: Float[Array, "b *other"],
    *,
    kernels: tuple[str, ...] = ("cosine", "student_t"),
    divergence: str = "jeffreys",
    width: float = 1.0,
    present: Bool[Array, "b"],
    blocks: int = 1,
) -> Scalar:
    """Information-flow distillation of one layer (Passalis, Tzelepi & Tefas 2020, arXiv 2005.00727).

    Summed over `kernels`, the mean over b^2 pairs of (p - q)(log p - log q), Jeffreys' divergence
    ("jeffreys"), or of p log(1e-6 + p / (1e-6 + q)) ("kl"), p and q the distributions of teacher and
    student. Code: pkth, `nn/pkt_transfer.py`; its experiments take both kernels and Jeffreys.
    That this is the IFD of others' tables is likely, not verified.

    Kernels, d = sqrt(squared distance + 1e-6): "cosine" (cos + 1) / 2; "student_t" 1 / (1 + d);
    "cauchy" 1 / (1 + d^2 / width^2); "rbf" exp(-d / width), of the distance, not its square;
    "adaptive_rbf" the same with the mean distance for width, each side its own, without gradient.
    The squared distance of a row from itself is exactly 0 here, its d so 0.001; the released code
    has rounding there, which moves its losses by about 5e-4. Departure: the cosine kernel is 1e-7
    at least, where the released loss of opposite rows is infinite.
    """
    if not kernels:
        raise ValueError("information flow needs at least one kernel")
    if divergence not in DIVERGENCES:
        raise ValueError(f"divergence is one of {', '.join(DIVERGENCES)}, not '{divergence}'")
    for kernel in kernels:
        if kernel not in KERNELS:
            raise ValueError(f"kernel is one of {', '.join(KERNELS)}, not '{kernel}'")
    sides = compared_sides(student, teacher, present)
    rows = numbered_sides(sides, present)

    def flow(kernel: str) -> Scalar:
        widths = dict.fromkeys(SIDES, width)
        if kernel == "adaptive_rbf":
            widths = _mean_distances(rows, sides, present, blocks)

        def of_rows(rows: Rows) -> Float[Array, "r"]:
            log_answer, log_target = (
                neighbour_log_probabilities(
                    rows, side, sides, kernel, width=widths[side], present=present
                )
                for side in SIDES
            )
            answer, target = jnp.exp(log_answer), jnp.exp(log_target)
            if divergence == "jeffreys":
                return _means((target - answer) * (log_target - log_answer), present)
            ratio_less_1 = 1e-6 + (target - answer - 1e-6) / (answer + 1e-6)
            return _means(_divergence(target, answer, ratio_less_1), present)

        return mean_present(by_blocks(of_rows, rows, blocks=blocks), present)

    first, *others = (flow(kernel) for kernel in kernels)
    return sum(others, first)


def neighbour_log_probabilities(
    rows: Rows,
    side: str,
    sides: Rows,
    kernel: str,
    *,
    width: float | Scalar = 1.0,
    present: Bool[Array, "b"],
) -> Float[Array, "r b"]:
    """log of the kernel's distribution over the present columns, for each of some rows; else 0.

    rows: of `numbered_sides`, all or a block of them. By logarithms throughout, as far rows have
    kernels that round to 0.
    """
    pairs = rows["present"][:, None] & present[None, :]
    if kernel == "cosine":
        cosine = cosines(rows[side], sides[side])
        log_kernel = jnp.log(jnp.maximum(0.5 * (cosine + 1.0), LEAST_COSINE_KERNEL))
    else:
        square = _squares(rows, side, sides)
        distance = jnp.sqrt(square)
        if kernel == "student_t":
            log_kernel = -jnp.log1p(distance)
        elif kernel == "cauchy":
            log_kernel = -jnp.log1p(square / width**2)
        else:
            log_kernel = -distance / width
    # A row always counts for itself, so that an absent one has a finite (and unused) sum.
    counted = pairs | is_itself(rows["place"], present.shape[0])
    return jnp.where(pairs, masked_log_softmax(log_kernel, counted), 0.0)


def _mean_distances(
    rows: Rows, sides: Rows, present: Bool[Array, "b"], blocks: int
) -> dict[str, Scalar]:
    """Of each side over all pairs, each row with itself as well; 1 without any distance."""

    def of_rows(rows: Rows) -> Rows:
        return {side: _means(jnp.sqrt(_squares(rows, side, sides)), present) for side in SIDES}

    totals = jax.lax.stop_gradient(by_blocks(of_rows, rows, blocks=blocks))
    means = {side: mean_present(totals[side], present) for side in SIDES}
    return {side: jnp.where(mean > 0.0, mean, 1.0) for side, mean in means.items()}


def _squares(rows: Rows, side: str, sides: Rows) -> Float[Array, "r b"]:
    return square_distances(rows[side], sides[side], rows["place"]) + SQUARE_EPSILON


def _divergence(
    target: Float[Array, "r b"], answer: Float[Array, "r b"], ratio_less_1: Float[Array, "r b"]
) -> Float[Array, "r b"]:
    """p log(1 + x) - (p - q), in which the rows' sums of p - q are 0 and are there for precision.

    Without them a small divergence is what is left of terms far larger: float32 keeps 5 digits.
    """
    return target * jnp.log1p(ratio_less_1) - (target - answer)


def _means(values: Float[Array, "r b"], present: Bool[Array, "b"]) -> Float[Array, "r"]:
    """Of each row, over the present columns."""
    return jax.vmap(mean_present, in_axes=(0, None))(values, present)
