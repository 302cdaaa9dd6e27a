"""Multimodal Clustering Networks: a contrastive loss and a common online clustering.

Chen, Rouditchenko et al. 2021 (ICCV, arXiv 2104.12671). Video, audio and, where there is, text meet
in one space: total = sum over pairs of modalities of the masked margin softmax + 1 * clustering loss
+ 50 * reconstruction loss. Embeddings are used as they are: no normalisation, no temperature.

Modalities come as dicts by name, two or three of them. Rows that lack a modality are left out by
`present`, and may hold anything.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from avssl.losses.contrastive import Scalar, contrast_in_blocks, unit_rows
from avssl.losses.precision import dot, widen
from avssl.losses.rows import blank_absent, mean_present


def masked_margin_softmax(
    first: Float[Array, "b d"],
    second: Float[Array, "b d"],
    *,
    index: Int[Array, "b"],
    present: Bool[Array, "b"],
    margin: float = 0.001,
    same_record_negatives: bool = False,
    blocks: int = 1,
) -> tuple[Scalar, tuple[Scalar, Scalar]]:
    """Cross-entropy of each row of the products plus that of each column, the own less `margin`.

    The masked margin softmax (Ilharco et al. 2019) as MCN has it: means over rows and over columns
    are added, not averaged. Also returned: how often the own product alone is the largest of its
    row, and of its column (the margin left aside). blocks: see `contrast_in_blocks`.

    Departure: other clips of the same video (equal `index`) are no negatives, unless
    `same_record_negatives`, as released: there the 31 other clips of a video are its hardest ones.
    """
    first, second = blank_absent(first, present), blank_absent(second, present)
    half, metrics = contrast_in_blocks(
        first,
        second,
        lambda some, others: dot(some, others.T),
        # A record for each row makes all of them negatives.
        index=jnp.arange(len(index)) if same_record_negatives else index,
        present=present,
        margin=margin,
        blocks=blocks,
    )
    return 2.0 * half, (metrics["video_to_audio_top1"], metrics["audio_to_video_top1"])


def pairwise_contrastive(
    embeddings: dict[str, Float[Array, "b d"]],
    present: dict[str, Bool[Array, "b"]],
    *,
    index: Int[Array, "b"],
    margin: float = 0.001,
    same_record_negatives: bool = False,
    blocks: int = 1,
) -> tuple[Scalar, dict[str, Scalar]]:
    """The masked margin softmax of the dot products, summed over all pairs of modalities."""
    embeddings = _present_rows(embeddings, present)
    names = sorted(embeddings)
    loss, metrics = jnp.zeros((), embeddings[names[0]].dtype), {}
    for first, second in ((a, b) for a in names for b in names if a < b):
        both = present[first] & present[second]
        one, (to_second, to_first) = masked_margin_softmax(
            embeddings[first],
            embeddings[second],
            index=index,
            present=both,
            margin=margin,
            same_record_negatives=same_record_negatives,
            blocks=blocks,
        )
        loss += one
        metrics[f"{first}_to_{second}_top1"] = to_second
        metrics[f"{second}_to_{first}_top1"] = to_first
        metrics[f"num_{first}_{second}_pairs"] = jnp.sum(both.astype(loss.dtype))
    return loss, metrics


def centroid_cross_entropy(
    embedding: Float[Array, "b d"],
    centroids: Float[Array, "k d"],
    labels: Int[Array, "b"],
    *,
    present: Bool[Array, "b"],
    margin: float = 0.001,
) -> Scalar:
    """Cross-entropy over dot products with the centroids, that of the own cluster less `margin`.

    Written as log-sum-exp minus the own logit: the released flag `nce` chooses between this and
    `nll_loss`, which are the same number. No gradient reaches the centroids. Mean over present rows.
    """
    embedding = blank_absent(embedding, present)
    centroids = jax.lax.stop_gradient(centroids.astype(embedding.dtype))
    own = labels[:, None] == jnp.arange(centroids.shape[0], dtype=labels.dtype)[None, :]
    logits = dot(embedding, centroids.T)
    logits = jnp.where(own, logits - margin, logits)
    own_logit = jnp.sum(jnp.where(own, logits, 0.0), axis=1)
    return mean_present(jax.nn.logsumexp(logits, axis=1) - own_logit, present)


def clustering_loss(
    embeddings: dict[str, Float[Array, "b d"]],
    present: dict[str, Bool[Array, "b"]],
    *,
    centroids: Float[Array, "k d"],
    labels: Int[Array, "b"],
    margin: float = 0.001,
) -> Scalar:
    """Every modality to the centroid of its row's cluster; the mean over the modalities.

    Departure: the released code divides by 3 even where it leaves out a modality.
    """
    losses = [
        centroid_cross_entropy(
            embeddings[name], centroids, labels, present=present[name], margin=margin
        )
        for name in sorted(embeddings)
    ]
    return sum(losses[1:], losses[0]) / len(losses)


def reconstruction_loss(
    errors: dict[str, Float[Array, "b"]], present: dict[str, Bool[Array, "b"]]
) -> Scalar:
    """Sum over the modalities of the mean squared error of the present rows; weighted 50 by MCN."""
    means = [mean_present(widen(errors[name]), present[name]) for name in sorted(errors)]
    return sum(means[1:], means[0])


def fuse(
    embeddings: dict[str, Float[Array, "b d"]], present: dict[str, Bool[Array, "b"]]
) -> tuple[Float[Array, "b d"], Bool[Array, "b"]]:
    """What is clustered: the mean of the modalities that a row has, without gradient; has it any?

    The released mean is over all three: the same where none is missing.
    """
    rows = _present_rows(embeddings, present)
    total = jnp.sum(jnp.stack([rows[name] for name in sorted(rows)]), axis=0)
    held = jnp.stack([present[name] for name in sorted(rows)])
    count = jnp.sum(held.astype(total.dtype), axis=0)
    fused = total / jnp.maximum(count, 1.0)[:, None]
    return jax.lax.stop_gradient(fused), jnp.any(held, axis=0)


def nearest_centroids(
    vectors: Float[Array, "n d"], centroids: Float[Array, "k d"]
) -> Int[Array, "n"]:
    """The centroid with the largest cosine, the first one of equals."""
    # The length of a vector is the same factor for every centroid.
    wide = widen(vectors)
    similarity = dot(wide, unit_rows(centroids).astype(wide.dtype).T)
    return jnp.argmax(similarity, axis=1).astype(jnp.int32)


def cosine_kmeans(
    vectors: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    *,
    present: Bool[Array, "n"],
    max_iterations: int = 100,
    tolerance: float = 1e-4,
    empty_to_zero: bool = False,
) -> tuple[Int[Array, "n"], Float[Array, "k d"]]:
    """Labels, and the centroids after them: nearest by cosine, centroids as plain means.

    As fast_pytorch_kmeans has it, from given centroids: it ends after `max_iterations`, or once the
    squares of the changes of all centroids sum to `tolerance` at most. The labels are those before
    the last means. Rows that are not `present` get a label but count in no mean.

    Departure: a cluster that empties keeps its centroid. As released (`empty_to_zero`) it falls to
    0, from where it wins every vector whose cosine with all the others is negative.
    """
    vectors = jax.lax.stop_gradient(blank_absent(vectors, present))
    centroids = jax.lax.stop_gradient(centroids.astype(vectors.dtype))
    clusters = jnp.arange(centroids.shape[0], dtype=jnp.int32)

    def going_on(carry):
        iteration, moved, _, _ = carry
        return (iteration < max_iterations) & (moved > tolerance)

    def iterate(carry):
        iteration, _, centroids, _ = carry
        labels = nearest_centroids(vectors, centroids)
        members = ((labels[:, None] == clusters[None, :]) & present[:, None]).astype(vectors.dtype)
        count = jnp.sum(members, axis=0)[:, None]
        means = dot(members.T, vectors) / jnp.maximum(count, 1.0)
        if not empty_to_zero:
            means = jnp.where(count > 0.0, means, centroids)
        return iteration + 1, jnp.sum((means - centroids) ** 2), means, labels

    start = (
        jnp.zeros((), jnp.int32),
        jnp.full((), jnp.inf, vectors.dtype),
        centroids,
        jnp.zeros(vectors.shape[0], jnp.int32),
    )
    _, _, centroids, labels = jax.lax.while_loop(going_on, iterate, start)
    return labels, centroids


def draw_centroids(
    key: PRNGKeyArray,
    vectors: Float[Array, "n d"],
    *,
    present: Bool[Array, "n"],
    num_clusters: int,
) -> Float[Array, "k d"]:
    """Different present rows by chance; all of them over and over where there are fewer than k.

    Of equal centroids the first gets all members, and the others stay where they are.
    """
    place = jnp.where(present, jax.random.uniform(key, present.shape), jnp.inf)
    count = jnp.maximum(jnp.sum(present, dtype=jnp.int32), 1)
    turns = jnp.arange(num_clusters, dtype=jnp.int32) % count
    return vectors[jnp.argsort(place)[turns]]


def queue_is_full(queue: Float[Array, "q d"], in_use: Bool[Array, ""], *, block: int) -> Array:
    """Once rows have come to the queue's end; `block` is how many come at a time.

    The released test looks at the last row alone, which a row without any modality would deceive.
    """
    return in_use | jnp.any(queue[-block:] != 0)


def push_rows(
    queue: Float[Array, "q d"],
    fused: Float[Array, "b d"],
    *,
    clips_per_video: int,
    kept_per_video: int,
) -> Float[Array, "q d"]:
    """The first clips of each video to the front of the queue; what leaves its end is forgotten.

    The clips of a video are consecutive rows. Released: 16 of 32 clips, of 128 videos, 20 times.
    """
    kept = fused.reshape(-1, clips_per_video, fused.shape[-1])[:, :kept_per_video]
    kept = kept.reshape(-1, fused.shape[-1]).astype(queue.dtype)
    if not 0 < kept.shape[0] <= queue.shape[0] or queue.shape[0] % kept.shape[0]:
        raise ValueError(
            f"a queue of {queue.shape[0]} rows does not hold whole blocks of {kept.shape[0]} rows"
        )
    return jnp.concatenate([kept, queue[: -kept.shape[0]]])


def clustered_rows(
    queue: Float[Array, "q d"],
    in_use: Bool[Array, ""],
    fused: Float[Array, "b d"],
    present: Bool[Array, "b"],
) -> tuple[Float[Array, "n d"], Bool[Array, "n"]]:
    """The queue and after it the batch, and which rows of them count.

    A queue counts whole, but for its rows of zeros, which never came or had no modality.
    """
    queue = queue.astype(fused.dtype)
    queued = in_use & jnp.any(queue != 0, axis=1)
    return jnp.concatenate([queue, fused]), jnp.concatenate([queued, present])


def online_clusters(
    queue: Float[Array, "q d"],
    in_use: Bool[Array, ""],
    centroids: Float[Array, "k d"],
    fused: Float[Array, "b d"],
    *,
    present: Bool[Array, "b"],
    key: PRNGKeyArray,
    refit: Bool[Array, ""],
    restart: Bool[Array, ""],
    clips_per_video: int,
    kept_per_video: int,
    max_iterations: int = 100,
    tolerance: float = 1e-4,
    empty_to_zero: bool = False,
) -> tuple[Int[Array, "b"], Float[Array, "k d"], Float[Array, "q d"], Bool[Array, ""]]:
    """One training step's clusters: labels of the batch, centroids, queue, and whether it is in use.

    On `refit` a k-means from the present centroids over the batch and, once it is full, the queue
    as it was before this batch; else labels only. On `restart` (the first step, and the released
    code's every epoch) centroids are drawn anew and fitted. MCN refits every 20 steps, as many as the
    queue holds, with 256 clusters.
    """
    fused = jax.lax.stop_gradient(blank_absent(fused, present))
    batch = fused.shape[0]
    in_use = queue_is_full(
        queue, in_use & ~restart, block=batch // clips_per_video * kept_per_video
    )

    def fitted(centroids):
        rows, counted = clustered_rows(queue, in_use, fused, present)
        drawn = draw_centroids(key, rows, present=counted, num_clusters=centroids.shape[0])
        labels, centroids = cosine_kmeans(
            rows,
            jnp.where(restart, drawn, centroids),
            present=counted,
            max_iterations=max_iterations,
            tolerance=tolerance,
            empty_to_zero=empty_to_zero,
        )
        return labels[-batch:], centroids

    def labelled(centroids):
        return nearest_centroids(fused, centroids), centroids

    centroids = centroids.astype(fused.dtype)
    labels, centroids = jax.lax.cond(refit | restart, fitted, labelled, centroids)
    queue = push_rows(queue, fused, clips_per_video=clips_per_video, kept_per_video=kept_per_video)
    return labels, centroids, queue, in_use


def _present_rows(
    embeddings: dict[str, Float[Array, "b d"]], present: dict[str, Bool[Array, "b"]]
) -> dict[str, Float[Array, "b d"]]:
    return {name: blank_absent(rows, present[name]) for name, rows in embeddings.items()}
