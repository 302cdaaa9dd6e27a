"""SeLaVi's self-labelling: optimal transport of clips to clusters of prescribed sizes.

Asano, Patrick, Rupprecht & Vedaldi 2020 (arXiv 2006.13662); constants and stop rule are those of
`src/sk_utils.py:optimize_L_sk_gpu`.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.contrastive import Scalar
from avssl.losses.precision import widen

# exp(-1e6) is 0 in every dtype: a posterior of exactly 0 (log -inf) becomes this.
LOWEST_LOG = -1e6


# What `sinkhorn` returns, by name, and the queue of `online_sinkhorn`.
Transport = dict[str, Array]
PosteriorQueue = dict[str, Array]


def log_joint_posterior(
    video_logits: Float[Array, "n k"], audio_logits: Float[Array, "n k"]
) -> Float[Array, "n k"]:
    """log(softmax(video) * softmax(audio)): SeLaVi's one posterior for both modalities of a clip."""
    return jax.nn.log_softmax(widen(video_logits)) + jax.nn.log_softmax(widen(audio_logits))


def uniform_marginal(num_clusters: int) -> Float[Array, "k"]:
    return jnp.full(num_clusters, 1.0 / num_clusters)


def gaussian_marginal(
    key: Array, num_clusters: int, *, spread: float = 0.1, as_drawn: bool = False
) -> Float[Array, "k"]:
    """Masses proportional to 1 / (1 + spread * z), z standard normal, drawn once per head.

    It is 1 / draw in the released code, which calls the draws sizes: `as_drawn` takes them as such.
    Departure: draws are kept at 0.1 or more, where the code has no bound; at the released spread,
    that is 9 standard deviations away.
    """
    draw = jnp.maximum(1.0 + spread * jax.random.normal(key, (num_clusters,)), 0.1)
    mass = draw if as_drawn else 1.0 / draw
    return mass / jnp.sum(mass)


def match_popularity(
    marginal: Float[Array, "k"],
    log_posterior: Float[Array, "n k"],
    *,
    present: Bool[Array, "n"] | None = None,
    released: bool = False,
) -> Float[Array, "k"]:
    """Deals the masses of `marginal` out to the clusters by how popular these are (sum of posteriors).

    The most popular cluster gets the largest mass, and so on down: the matching by rank of section
    3 of the paper (as recalled; not verified). released: the released code meant to sort but sorted
    along an axis of length 1, so the masses are permuted by popularity without being sorted; and
    as it stores what it permuted, hand the result in again at the next solve to have its behaviour.
    """
    present = _all_present(log_posterior) if present is None else present
    wide = jnp.where(present[:, None], _finite(log_posterior), LOWEST_LOG)
    popularity = jnp.argsort(jax.nn.logsumexp(wide, axis=0))
    return jnp.zeros_like(marginal).at[popularity].set(marginal if released else jnp.sort(marginal))


def sinkhorn(
    log_posterior: Float[Array, "n k"],
    marginal: Float[Array, "k"],
    *,
    present: Bool[Array, "n"] | None = None,
    sharpness: float = 20.0,
    tolerance: float = 0.1,
    max_steps: int = 2000,
    test_every: int = 10,
) -> Transport:
    """Sinkhorn-Knopp on posterior^(sharpness / 2), rows of equal mass, clusters of mass `marginal`.

    Returns labels [n] (-1 where absent), cost, log_rows [n] and log_columns [k] (the logarithms of
    beta and alpha), error and num_steps; `plan` makes Q of them.

    alpha = marginal / (PS^T beta), then beta = (1/n) / (PS alpha), from beta = 1/n; label = argmax_k
    of diag(beta) PS diag(alpha). At every 10th step, the first among them, it ends if
    sum_n |beta_old / beta_new - 1| <= 0.1; at most 2000 steps. `sharpness` is the code's lambda. cost
    = -mean log posterior[label] / 2. All constants are the released ones.

    Departure: everything is in logarithms, each row shifted by its largest score. The released code
    takes powers in float64, which float32 cannot hold; this runs in either, with the same result.
    The stop test sums over the rows, of which each is rounded by about 1e-6 in float32: above some
    100,000 of them that sum may never come to 0.1. It ends then, too, when the sum is no larger than
    rounding makes it and has not become smaller since the last test. (Measured on random posteriors
    of 4 clusters: 141 steps of 240,000 rows in float32 and in float64; of 1.2 million 161 and 161,
    51 and 51, and of sharper ones 401 and 461; no label differs.) Absent rows have no mass and may
    hold anything. No gradient flows through the result.
    """
    present = _all_present(log_posterior) if present is None else present
    score = lax.stop_gradient(_scores(log_posterior, present, sharpness))
    shift = jnp.max(score, axis=1)
    score = score - shift[:, None]
    num_present = jnp.maximum(jnp.sum(present.astype(score.dtype)), 1.0)
    log_mass = -jnp.log(num_present)
    positive = marginal > 0.0
    log_marginal = jnp.where(positive, jnp.log(jnp.where(positive, marginal, 1.0)), -jnp.inf)
    log_marginal = log_marginal.astype(score.dtype)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        number, rows, _, error, stands = state
        reach = jax.nn.logsumexp(rows[:, None] + score, axis=0)
        # No row at all reaches nothing, and needs no scaling.
        columns = log_marginal - jnp.where(jnp.isfinite(reach), reach, 0.0)
        balanced = log_mass - jax.nn.logsumexp(score + columns[None], axis=1)
        ratio = jnp.exp(jnp.where(present, rows - balanced, 0.0))
        change = _sum_of_many(jnp.abs(ratio - 1.0))
        of_rows = jnp.where(present, jnp.abs(balanced) - log_mass, 0.0)
        rounding = jnp.finfo(score.dtype).eps * _sum_of_many(of_rows)
        is_tested = number % test_every == 0
        stands = jnp.where(is_tested, (change < rounding) & (change >= error), stands)
        error = jnp.where(is_tested, change, error)
        return number + 1, jnp.where(present, balanced, -jnp.inf), columns, error, stands

    def goes_on(state: tuple[Array, ...]) -> Array:
        number, _, _, error, stands = state
        return (error > tolerance) & ~stands & (number < max_steps)

    start = (
        jnp.zeros((), jnp.int32),
        jnp.where(present, log_mass + shift, -jnp.inf),
        jnp.zeros_like(log_marginal),
        jnp.full((), jnp.inf, score.dtype),
        jnp.zeros((), bool),
    )
    num_steps, rows, columns, error, _ = lax.while_loop(goes_on, step, start)
    labels = jnp.argmax(score + columns[None], axis=1).astype(jnp.int32)
    chosen = jnp.take_along_axis(score, labels[:, None], axis=1)[:, 0] + shift
    return {
        "labels": jnp.where(present, labels, -1),
        "cost": -_sum_of_many(jnp.where(present, chosen, 0.0)) / (sharpness * num_present),
        "log_rows": rows - shift,
        "log_columns": columns,
        "error": error,
        "num_steps": num_steps,
    }


def plan(
    log_posterior: Float[Array, "n k"], transport: Transport, *, sharpness: float = 20.0
) -> Float[Array, "n k"]:
    """The transport plan Q: rows sum to 1/n (absent rows to 0), columns to about their marginal."""
    present = transport["labels"] >= 0
    score = _scores(log_posterior, present, sharpness)
    return jnp.exp((score + transport["log_columns"][None]) + transport["log_rows"][:, None])


def empty_queue(size: int, num_clusters: int) -> PosteriorQueue:
    """A queue of the last `size` rows of a stream, newest first: log posteriors of one head."""
    return {"log_posterior": jnp.zeros((size, num_clusters)), "present": jnp.zeros(size, bool)}


def push(
    queue: PosteriorQueue, log_posterior: Float[Array, "b k"], *, present: Bool[Array, "b"]
) -> PosteriorQueue:
    """The queue with the batch in front; the oldest rows fall off."""
    size = len(queue["present"])
    rows = jnp.where(present[:, None], log_posterior.astype(queue["log_posterior"].dtype), 0.0)
    return {
        "log_posterior": jnp.concatenate([rows, queue["log_posterior"]])[:size],
        "present": jnp.concatenate([present, queue["present"]])[:size],
    }


def online_sinkhorn(
    log_posterior: Float[Array, "b k"],
    queue: PosteriorQueue,
    marginal: Float[Array, "k"],
    *,
    present: Bool[Array, "b"],
    sharpness: float = 20.0,
    tolerance: float = 0.1,
    max_steps: int = 100,
) -> tuple[Float[Array, "b k"], Int[Array, "b"]]:
    """Soft assignments (rows sum to 1; 0 where absent) and labels (-1) of a batch of a stream.

    A stream has no finite set of clips to balance over: here the batch and the queue of recent rows
    stand for it. Not in the paper; the queue is SwAV's idea (Caron et al. 2020, arXiv 2006.09882,
    section 3.1), the rest is `sinkhorn`, with at most 100 steps as it runs within every training
    step. `push` the batch afterwards.
    """
    batch = log_posterior.astype(queue["log_posterior"].dtype)
    transport = sinkhorn(
        jnp.concatenate([batch, queue["log_posterior"]]),
        marginal,
        present=jnp.concatenate([present, queue["present"]]),
        sharpness=sharpness,
        tolerance=tolerance,
        max_steps=max_steps,
    )
    score = _scores(batch, present, sharpness) + transport["log_columns"][None]
    soft = jnp.where(present[:, None], jax.nn.softmax(score), 0.0)
    return lax.stop_gradient(soft), transport["labels"][: len(present)]


def _all_present(log_posterior: Float[Array, "n k"]) -> Bool[Array, "n"]:
    return jnp.ones(log_posterior.shape[0], bool)


def _finite(log_posterior: Float[Array, "n k"]) -> Float[Array, "n k"]:
    return jnp.maximum(widen(log_posterior), LOWEST_LOG)


def _scores(
    log_posterior: Float[Array, "n k"], present: Bool[Array, "n"], sharpness: float
) -> Float[Array, "n k"]:
    return 0.5 * sharpness * jnp.where(present[:, None], _finite(log_posterior), 0.0)


def _sum_of_many(values: Float[Array, "n"]) -> Scalar:
    """A sum in two stages, so that rounding grows with the root of the number of values."""
    block = max(1, int(len(values) ** 0.5))
    padded = jnp.pad(values, (0, -len(values) % block))
    return jnp.sum(jnp.sum(padded.reshape(-1, block), axis=1))
