"""AVID and CMA: discrimination of instances and of agreement positives against memory banks."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.bank import bank_cosines, bank_rows
from avssl.losses.contrastive import Scalar
from avssl.losses.nce import frozen_partition, nce_loss
from avssl.losses.rows import blank_absent

Bank = Float[Array, "n d"]
Queries = dict[str, Float[Array, "b d"]]
Rows = dict[str, Float[Array, "b _ d"]]
# Of each term by name, in order: the logits of its positives and of its negatives.
Scores = dict[str, tuple[Float[Array, "b _"], Float[Array, "b _"]]]
Result = tuple[Scalar, Scalar, dict[str, Scalar]]

# (modality of the query, modality of the bank), both directions of a group.
CROSS = (("video", "audio"), ("audio", "video"))
WITHIN = (("video", "video"), ("audio", "audio"))


def avid_loss(
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    *,
    video_bank: Bank,
    audio_bank: Bank,
    index: Int[Array, "b"],
    negatives: Int[Array, "b k"],
    partition: Scalar,
    present: Bool[Array, "b"],
    cross: float = 1.0,
    within: float = 0.0,
    temperature: float = 0.07,
) -> Result:
    """Audio-visual instance discrimination; returns (loss, Z, the loss of each term).

    Morgado, Vasconcelos, Misra 2021 (CVPR, arXiv 2004.12943); code: AVID-CMA, `criterions/avid.py`.
    loss = (cross * mean(v2a, a2v) + within * mean(v2v, a2a)) / (cross + within), each term the NCE
    of one modality's query: its positive is the record's row in the other bank (or its own), its
    negatives are the rows of `negatives`, the same for both modalities. Cross-AVID (1, 0), Self
    (0, 1), Joint (1, 1); a group of weight 0 is not computed. Queries may have any length.
    Official: temperature 0.07, 1024 negatives.

    Z is set by the first term, in the order above, of the first batch, and frozen: keep what is
    returned. `update_bank` comes after the loss. Departure: rows with `present` False leave.
    """
    queries = {"video": blank_absent(video, present), "audio": blank_absent(audio, present)}
    own = _rows(video_bank, audio_bank, index[:, None])
    others = _rows(video_bank, audio_bank, negatives)
    cross_scores = _scores(queries, own, others, CROSS, temperature) if cross > 0 else {}
    within_scores = _scores(queries, own, others, WITHIN, temperature) if within > 0 else {}
    groups = ((cross, cross_scores), (within, within_scores))
    return _weighted_nce(groups, partition, present)


def cma_loss(
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    *,
    video_bank: Bank,
    audio_bank: Bank,
    index: Int[Array, "b"],
    positives: Int[Array, "b p"],
    negatives: Int[Array, "b k"],
    partition: Scalar,
    present: Bool[Array, "b"],
    cross_instance: float = 1.0,
    within_instance: float = 0.0,
    cross_positives: float = 0.0,
    within_positives: float = 1.0,
    num_negatives_within: int | None = 64,
    temperature: float = 0.07,
    released_within_instance: bool = False,
) -> Result:
    """Cross-modal agreement on top of AVID; returns (loss, Z, the loss of each term).

    Same paper; code: `criterions/avid_cma.py`. The weighted mean of four groups, each the mean of
    its two directions: instance discrimination as in AVID, across and within, and the same with the
    agreement positives of the record (32) in place of its own row. Weights as published
    (1, 0, 0, 1). Positives within a modality are told from the first `num_negatives_within`
    negatives only; None takes all, as every other group does.

    The released code computes cross-modal scores where it means within-modal instance
    discrimination, which so never enters, though its weight still divides:
    `released_within_instance` does the same. Z as in `avid_loss`; CMA starts from the Z of AVID.
    """
    queries = {"video": blank_absent(video, present), "audio": blank_absent(audio, present)}
    own = _rows(video_bank, audio_bank, index[:, None])
    agreeing = _rows(video_bank, audio_bank, positives)
    others = _rows(video_bank, audio_bank, negatives)
    fewer = {name: rows[:, :num_negatives_within] for name, rows in others.items()}

    def scores(kind: str, positive: Rows, negative: Rows, pairs: tuple, wanted: bool) -> Scores:
        return _scores(queries, positive, negative, pairs, temperature, kind) if wanted else {}

    within = within_instance > 0
    mistaken = within and released_within_instance
    cross = cross_instance > 0 or mistaken
    groups = (
        (cross_instance, scores("instance_", own, others, CROSS, cross)),
        (within_instance, scores("instance_", own, others, WITHIN, within and not mistaken)),
        (cross_positives, scores("positives_", agreeing, others, CROSS, cross_positives > 0)),
        (within_positives, scores("positives_", agreeing, fewer, WITHIN, within_positives > 0)),
    )
    return _weighted_nce(groups, partition, present)


def _rows(video_bank: Bank, audio_bank: Bank, index: Int[Array, "b k"]) -> Rows:
    return {"video": bank_rows(video_bank, index), "audio": bank_rows(audio_bank, index)}


def _scores(
    queries: Queries,
    positives: Rows,
    negatives: Rows,
    pairs: tuple[tuple[str, str], ...],
    temperature: float,
    kind: str = "",
) -> Scores:
    return {
        f"{kind}{query}_to_{bank}": (
            bank_cosines(queries[query], positives[bank]) / temperature,
            bank_cosines(queries[query], negatives[bank]) / temperature,
        )
        for query, bank in pairs
    }


def _weighted_nce(
    groups: tuple[tuple[float, Scores], ...], partition: Scalar, present: Bool[Array, "b"]
) -> Result:
    """The weighted mean of the groups; the first term of all sets Z where it is unset."""
    total = sum(weight for weight, _ in groups)
    if total <= 0 or min(weight for weight, _ in groups) < 0:
        raise ValueError("the weights of AVID and CMA must not be negative, and not all 0")
    first = next(iter(term for _, scores in groups for term in scores.values()))
    partition = frozen_partition(partition, first[1], present=present)
    loss, losses = jnp.zeros((), first[1].dtype), {}
    for weight, scores in groups:
        for name, (positive, negative) in scores.items():
            losses[name] = nce_loss(positive, negative, partition=partition, present=present)
            loss += weight / total / len(scores) * losses[name]
    return loss, partition, losses
