"""Robust cross-modal instance discrimination: doubtful pairs count less, negatives may be alike.

Morgado, Misra & Vasconcelos 2021, "Robust Audio-Visual Instance Discrimination" (arXiv 2103.15916).
There is no official code: the formulas are as recalled, and the goldens check algebra only. `video`
and `audio` are the embeddings that learn; `video_target` and `audio_target` those of the slowly
moving (momentum) encoders, which rank the candidates, judge the pairs and never take a gradient.
Rows may have any length: all products are cosines.

The candidates of a row are the batch and, after it, an optional queue of earlier pairs: a dict of
`video` and `audio` [q, d], `index` and `present` [q]. Each row's own partner always counts; other
rows of its record never do, nor rows with `present` False, which may hold anything, NaN too.
"""

from collections.abc import Callable

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
from avssl.losses.rows import blank_absent, mean_present, weighted_mean

# Agreements of a collapsed model differ by rounding alone; below this spread they count as equal.
LEAST_DEVIATION = 1e-3
ESTIMATORS = ("bootstrapped", "swapped", "neighbour", "cycle")
FLOORS = ("clip", "affine")

Queue = dict[str, Array]
Statistics = dict[str, Scalar]
# Of some rows: how like each candidate is, S_v and S_a.
Soft = Callable[[Rows, Rows], tuple[Array, Array]]


def agreement(
    video_target: Float[Array, "b d"],
    audio_target: Float[Array, "b d"],
    *,
    present: Bool[Array, "b"],
) -> Float[Array, "b"]:
    """Cosine of the two targets of each pair; 0 for absent rows. No gradient."""
    video, audio = (unit_rows(blank_absent(x, present)) for x in (video_target, audio_target))
    return jax.lax.stop_gradient(jnp.sum(video * audio, axis=1))


def initial_statistics() -> Statistics:
    """What `update_statistics` starts from; its first batch replaces mean and deviation."""
    return {"mean": jnp.zeros(()), "deviation": jnp.ones(()), "mass": jnp.zeros(())}


def update_statistics(
    statistics: Statistics,
    score: Float[Array, "b"],
    *,
    present: Bool[Array, "b"],
    momentum: float = 0.99,
) -> Statistics:
    """Running mean and population standard deviation of the agreements of all pairs seen so far.

    A pair of t updates ago weighs momentum^t (0.99, a third party's; the paper takes mu and sigma
    over the data set, not verified); `mass` is the sum of these weights, so that there is no bias
    to zero at the start. The spread between batches counts, not only that within each. The
    deviation is at least 0.001. Absent rows do not count; without any present row nothing changes.
    """
    mean, deviation, mass = (
        statistics[name].astype(score.dtype) for name in ("mean", "deviation", "mass")
    )
    score = jax.lax.stop_gradient(score)
    count = jnp.sum(present.astype(score.dtype))
    batch_mean = mean_present(score, present)
    batch_variance = mean_present((score - batch_mean) ** 2, present)

    gain = (1.0 - momentum) * count / len(score)
    total = momentum * mass + gain
    rate = gain / jnp.where(total > 0.0, total, 1.0)
    # Variance of a mixture of two sets; the difference of second moments would cancel.
    variance = (1.0 - rate) * (deviation**2 + rate * (batch_mean - mean) ** 2)
    variance = variance + rate * batch_variance
    return {
        "mean": mean + rate * (batch_mean - mean),
        "deviation": jnp.maximum(jnp.sqrt(variance), LEAST_DEVIATION),
        "mass": jnp.where(count > 0.0, total, mass),
    }


def agreement_weights(
    score: Float[Array, "b"],
    *,
    mean: float | Scalar,
    deviation: float | Scalar,
    shift: float = 0.0,
    kappa: float = 0.5,
    least_weight: float = 0.25,
    floor: str = "clip",
) -> Float[Array, "b"]:
    """How far each pair is trusted: Phi(score; mean mu + shift sigma, variance kappa sigma^2).

    Phi is the normal distribution function, w its value. The variance has the factor kappa, so the
    standard deviation has its root. `floor`: "clip" is max(least_weight, w), "affine" is
    least_weight + (1 - least_weight) w; which one the paper means is not verified, nor are shift
    (delta) 0, kappa 0.5 and least_weight 0.25 (a third party's). sigma is at least 0.001. No
    gradient.
    """
    if floor not in FLOORS:
        raise ValueError(f"floor is one of {', '.join(FLOORS)}, not '{floor}'")
    mean, deviation = (jnp.asarray(x).astype(score.dtype) for x in (mean, deviation))
    deviation = jnp.maximum(deviation, LEAST_DEVIATION)
    distance = (score - (mean + shift * deviation)) / (kappa**0.5 * deviation)
    trust = jax.scipy.special.ndtr(distance)
    if floor == "clip":
        weights = jnp.maximum(trust, least_weight)
    else:
        weights = least_weight + (1.0 - least_weight) * trust
    return jax.lax.stop_gradient(weights)


def rows_and_candidates(
    video_target: Float[Array, "b d"],
    audio_target: Float[Array, "b d"],
    *,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    queue: Queue | None = None,
) -> tuple[Rows, Rows]:
    """The targets, numbers and masks of the batch, and of all candidates: of batch and queue."""
    video, audio = (
        jax.lax.stop_gradient(blank_absent(x, present)) for x in (video_target, audio_target)
    )
    rows = {**numbered(index, present), "video_target": video, "audio_target": audio}
    found = {"video": video, "audio": audio, "index": index, "present": present}
    if queue is not None:
        more = {
            **queue,
            **{x: blank_absent(queue[x], queue["present"]) for x in ("video", "audio")},
        }
        found = {
            name: jnp.concatenate([own, jax.lax.stop_gradient(more[name]).astype(own.dtype)])
            for name, own in found.items()
        }
    return rows, found


def soft_targets(
    rows: Rows,
    candidates: Rows,
    *,
    estimator: str = "cycle",
    temperature: float | Scalar = 0.02,
    own_temperature: float | Scalar = 0.07,
) -> tuple[Float[Array, "r n"], Float[Array, "r n"]]:
    """How like row i each candidate is: S_v over audio for each video, S_a over video for audio.

    rows, candidates: of `rows_and_candidates`, of the rows all or some.
    S_v(j|i) = softmax over the candidates j of, with v, a the targets (S_a with the roles swapped):
    "bootstrapped" v_i a_j / temperature; "swapped" a_i v_j / temperature; "neighbour" v_i v_j /
    temperature; "cycle" v_i a_i / own_temperature + a_i v_j / temperature + v_j a_j /
    own_temperature, which trusts a candidate less whose own pair agrees little. The forms
    "bootstrapped" and "neighbour" and the temperatures (0.02 and 0.07, a third party's) are not
    verified. The own partner is among the candidates. No gradient.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is one of {', '.join(ESTIMATORS)}, not '{estimator}'")
    own, negatives = own_and_negatives(rows, candidates["index"], candidates["present"])
    # From which targets the similarity of row i and column j comes, for S_v; S_a is its mirror.
    row, column = {
        "bootstrapped": ("video", "audio"),
        "swapped": ("audio", "video"),
        "neighbour": ("video", "video"),
        "cycle": ("audio", "video"),
    }[estimator]
    mirror = {"video": "audio", "audio": "video"}

    def distribution(row: str, column: str) -> Float[Array, "r n"]:
        logits = cosines(rows[f"{row}_target"], candidates[column])
        logits = logits / jnp.asarray(temperature).astype(logits.dtype)
        if estimator == "cycle":
            # v_i a_i is the same for all columns: the softmax does not see it.
            video, audio = unit_rows(candidates["video"]), unit_rows(candidates["audio"])
            pairs = jnp.sum(video * audio, axis=1)
            logits = logits + (pairs / jnp.asarray(own_temperature).astype(pairs.dtype))[None, :]
        return jax.lax.stop_gradient(jax.nn.softmax(logits, axis=1, where=negatives | own))

    return distribution(row, column), distribution(mirror[row], mirror[column])


def robust_cross_modal_loss(
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    video_target: Float[Array, "b d"],
    audio_target: Float[Array, "b d"],
    *,
    temperature: float | Scalar = 0.07,
    weights: Float[Array, "b"] | None = None,
    soft: Soft | None = None,
    softness: float | Scalar = 0.5,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    queue: Queue | None = None,
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Weighted soft cross-modal instance discrimination; without `weights` and `soft`, plain xID.

    With P(j|v_i) = softmax over the candidates j of cos(video_i, audio_target_j) / temperature and
    T_v(j|i) = (1 - softness) [j = i] + softness S_v(j|i), the loss of row i is
    - sum_j T_v(j|i) log P(j|v_i) - sum_j T_a(j|i) log P(j|a_i): the sum of both directions, not
    half of it as in `symmetric_info_nce`. The loss is sum_i w_i loss_i / sum_i w_i.

    `soft` is `soft_targets`, with a choice of its options. temperature 0.07 and softness (lambda)
    0.5 are not verified. blocks: the rows are compared with all candidates in so many parts, one
    after the other, targets included, which changes nothing but the memory. It divides b.
    Departures, which change nothing in a batch of distinct, complete clips: see the masks at the
    head of this file; without any present row, or with all weights 0, the loss is 0.
    Metrics: how often the own partner is strictly nearer than every negative, each way; the mean
    weight of the pairs; how much of the targets lies on the own partner; the number of pairs.
    """
    rows, candidates = rows_and_candidates(
        video_target, audio_target, index=index, present=present, queue=queue
    )
    rows |= {"video": blank_absent(video, present), "audio": blank_absent(audio, present)}

    def both_directions(rows: Rows) -> tuple[Array, Array, Array, Array]:
        own, negatives = own_and_negatives(rows, candidates["index"], candidates["present"])

        def direction(query: Array, keys: Array, soft: Array | None) -> tuple[Array, Array, Array]:
            similarity = cosines(query, keys)
            logits = similarity / jnp.asarray(temperature).astype(similarity.dtype)
            right = jnp.sum(jnp.where(own, logits, 0.0), axis=1)
            rival = jnp.max(jnp.where(negatives, logits, -jnp.inf), axis=1)
            first = (right > rival).astype(logits.dtype)
            # Relative to the own partner: a loss near 0 would else be the difference of large numbers.
            # Its own column always counts, so that an absent row has a finite (and unused) loss.
            log_probability = masked_log_softmax(logits - right[:, None], negatives | own)
            target = own.astype(logits.dtype)
            if soft is not None:
                share = jnp.asarray(softness).astype(logits.dtype)
                soft = jax.lax.stop_gradient(soft.astype(logits.dtype))
                target = (1.0 - share) * target + share * soft
            own_target = jnp.sum(jnp.where(own, target, 0.0), axis=1)
            return -jnp.sum(target * log_probability, axis=1), first, own_target

        soft_video, soft_audio = (None, None) if soft is None else soft(rows, candidates)
        to_audio, audio_first, audio_own = direction(rows["video"], candidates["audio"], soft_video)
        to_video, video_first, video_own = direction(rows["audio"], candidates["video"], soft_audio)
        return to_audio + to_video, audio_first, video_first, 0.5 * (audio_own + video_own)

    loss, audio_first, video_first, own_target = by_blocks(both_directions, rows, blocks=blocks)
    counts = present.astype(loss.dtype)
    weights = counts if weights is None else weights.astype(counts.dtype)
    metrics = {
        "video_to_audio_top1": mean_present(audio_first, present),
        "audio_to_video_top1": mean_present(video_first, present),
        "weight": mean_present(jax.lax.stop_gradient(weights), present),
        "own_target": mean_present(own_target, present),
        "num_pairs": jnp.sum(counts),
    }
    return weighted_mean(loss, weights, present), metrics
