"""Contrast of two views of a record against memories of all records: CRD and CMC.

A bank of either side (`avssl.losses.bank`) holds an embedding of each record; a row is told from
the rows of the other bank. Each step: negatives are drawn, the loss is taken, and `update_bank`
puts the embeddings of each side into its own bank. Rows with `present` False leave.

Both embeddings learn, each through its own linear layer to 128 values (`ProjectionMLP((128,))`),
and may have any length: products are with their unit vectors. Where one side is a frozen teacher
its gradient is stopped at its features, before the layer.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from avssl.losses.bank import bank_cosines, bank_rows
from avssl.losses.contrastive import Scalar
from avssl.losses.nce import frozen_partition, nce_loss
from avssl.losses.rows import blank_absent, mean_present

Bank = Float[Array, "n d"]
Partitions = dict[str, Scalar]
SIDES = ("student", "teacher")


def memory_nce_loss(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    *,
    student_bank: Bank,
    teacher_bank: Bank,
    index: Int[Array, "b"],
    negatives: Int[Array, "b k"],
    partitions: Partitions,
    temperature: float = 0.07,
    epsilon: float = 1e-7,
    present: Bool[Array, "b"],
) -> tuple[Scalar, Partitions, dict[str, Scalar]]:
    """Contrastive representation distillation; returns (loss, Z of each side, loss of each side).

    Tian, Krishnan & Isola 2020 (ICLR, arXiv 1910.10699, eq. 18); code: RepDistiller,
    `crd/criterion.py` and `crd/memory.py`. The same is CMC (Tian, Krishnan & Isola 2020, ECCV, arXiv
    1906.05849; code: CMC, `NCE/`) with two views for student and teacher. The sum of two `nce_loss`:
    the student against the teacher's bank and the teacher against the student's, with m_j the rows
    of the bank, v the query's unit vector and scores exp(v m_j / temperature). The positive is the
    record's own row. Official: temperature 0.07; 16384 negatives of other classes
    (`draw_other_classes`), weight 0.8; CMC 4096 of all records.

    Z of either side is the mean score, the positive's among them, of the first batch with a row, and
    then frozen: keep what is returned, and begin with 0. (The released Z is this times the number of
    records n, which cancels against its noise 1/n.) It is noisy where that batch is small.

    `epsilon`: as released, the noise k / n of k negatives is k / n + 1e-7 in the denominators. It adds
    about 1e-7 n to the loss of each side, next to nothing to a gradient, and here prevents nothing.
    Departure: the released memory starts as uniform noise of about unit length, `initial_bank` at
    exactly that.
    """
    scores = _scores(
        student, teacher, student_bank, teacher_bank, index, negatives, temperature, present
    )
    num_negatives = negatives.shape[1]
    kept, losses = {}, {}
    for side, score in scores.items():
        kept[side] = frozen_partition(partitions[side], score, present=present)
        # A larger denominator is a larger Z, and a constant for each negative.
        excess = jnp.asarray(epsilon * student_bank.shape[0] / max(num_negatives, 1), score.dtype)
        losses[side] = nce_loss(
            score[:, :1], score[:, 1:], partition=kept[side] * (1.0 + excess), present=present
        )
        losses[side] += jnp.where(jnp.any(present), num_negatives * jnp.log1p(excess), 0.0)
    return losses["student"] + losses["teacher"], kept, losses


def memory_softmax_loss(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    *,
    student_bank: Bank,
    teacher_bank: Bank,
    index: Int[Array, "b"],
    negatives: Int[Array, "b k"],
    temperature: float = 0.07,
    present: Bool[Array, "b"],
) -> tuple[Scalar, dict[str, Scalar]]:
    """CMC's other form (`NCESoftmaxLoss`): cross-entropy over own row and negatives; each side's.

    The sum of both directions, as in `memory_nce_loss`; there is no Z.
    """
    scores = _scores(
        student, teacher, student_bank, teacher_bank, index, negatives, temperature, present
    )
    losses = {
        side: mean_present(jax.nn.logsumexp(score, axis=1) - score[:, 0], present)
        for side, score in scores.items()
    }
    return losses["student"] + losses["teacher"], losses


def _scores(
    student: Float[Array, "b d"],
    teacher: Float[Array, "b d"],
    student_bank: Bank,
    teacher_bank: Bank,
    index: Int[Array, "b"],
    negatives: Int[Array, "b k"],
    temperature: float,
    present: Bool[Array, "b"],
) -> dict[str, Float[Array, "b _"]]:
    """Of each side the logits against the other's bank: the own row first."""
    places = jnp.concatenate([index[:, None], negatives.astype(index.dtype)], axis=1)
    pairs = zip(SIDES, (student, teacher), (teacher_bank, student_bank), strict=True)
    return {
        side: bank_cosines(blank_absent(query, present), bank_rows(bank, places)) / temperature
        for side, query, bank in pairs
    }


def rows_by_class(
    label: Int[Array, "n"], *, num_classes: int
) -> tuple[Int[Array, "n"], Int[Array, "borders"]]:
    """The rows of a bank sorted by class, and where each class begins among them.

    Rows without a class (below 0, or not below `num_classes`) come last, after the last of the c + 1
    borders. To be computed once for a data set, for `draw_other_classes`.
    """
    known = (label >= 0) & (label < num_classes)
    place = jnp.where(known, label, num_classes)
    rows = jnp.argsort(place, stable=True).astype(jnp.int32)
    counts = jnp.bincount(place, length=num_classes + 1)[:num_classes].astype(jnp.int32)
    return rows, jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counts, dtype=jnp.int32)])


def draw_other_classes(
    keys: Key[Array, "b"],
    *,
    label: Int[Array, "b"],
    rows: Int[Array, "n"],
    borders: Int[Array, "borders"],
    num_negatives: int,
) -> tuple[Int[Array, "b k"], Bool[Array, "b"]]:
    """Uniform draws, with replacement, from the rows of other classes; and which rows have any.

    `rows` and `borders` as `rows_by_class` gives them. Each row's draws are a function of its own
    key. A row without a class, and one in whose data there is no other class, has no negatives:
    its draws mean nothing, and it is to leave the loss (`present & has_negatives`). Departure: CRD
    draws without replacement where there are enough rows.
    """
    num_classes = borders.shape[0] - 1
    known = (label >= 0) & (label < num_classes)
    place = jnp.where(known, label, 0)
    begin = borders[place]
    num_own = borders[place + 1] - begin
    num_others = borders[-1] - num_own

    def draw(key: Key[Array, ""], bound: Int[Array, ""]) -> Int[Array, "k"]:
        return jax.random.randint(key, (num_negatives,), 0, bound, dtype=jnp.int32)

    draws = jax.vmap(draw)(keys, jnp.maximum(num_others, 1))
    beyond = draws >= begin[:, None]
    drawn = rows.at[jnp.where(beyond, draws + num_own[:, None], draws)].get(mode="clip")
    return drawn, known & (num_others > 0)
