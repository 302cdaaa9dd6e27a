"""Retrieval across modalities: whose sound is this, and does at least its class agree."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from avssl.errors import AvsslError, UsageError
from avssl.evaluate.blocks import block_rows, in_blocks
from avssl.evaluate.checks import finite_features, labelled
from avssl.losses.contrastive import cosines

GALLERY_BLOCK = 1024
# Scores of one block of queries against the whole gallery that are held at once.
SCORES_AT_ONCE = 2**24
PADDING = -1
CUTOFFS = (1, 5, 10, 20)

Similarity = Callable[[Float[Array, "q d"], Float[Array, "g e"]], Float[Array, "q g"]]


def retrieval(
    queries: Float[np.ndarray, "n d"],
    gallery: Float[np.ndarray, "n e"],
    *,
    index: Int[np.ndarray, "n"],
    labels: Int[np.ndarray, "n"] | None = None,
    similarity: Similarity = cosines,
) -> dict[str, float]:
    """Row i of `queries` and of `gallery` are the two modalities of a clip of record `index[i]`.

    - `r1`, `r5`, `r10`, `r20`: the share of queries whose partner is among the first so many. The partner
      is the nearest clip of the same record; other clips of that record never stand before it, and
      every clip of another record that scores the same does (ties are pessimistic: a collapsed
      encoder comes last).
    - `median_rank` of the partner, from 1.
    - `class_p1` (with labels): the share of queries for which the nearest clip of the other
      modality, the partner included, has the same class; a tie with another class counts as wrong.

    `similarity` scores a block of queries against a block of the gallery, higher is nearer: for
    objectives that rank by a learnt score. One with parameters is best given as
    `jax.tree_util.Partial(function, params)`: equal shapes then compile once.
    """
    ranking = ranked(queries, gallery, index=index, labels=labels, similarity=similarity)
    metrics = {f"r{k}": float((ranking.ranks <= k).mean()) for k in CUTOFFS}
    metrics["median_rank"] = float(np.median(ranking.ranks))
    if ranking.same_class is not None:
        metrics["class_p1"] = float(ranking.same_class.mean())
    return metrics


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Of each query: the rank of its partner, from 1, and with labels whether the nearest has its class."""

    ranks: Int[np.ndarray, "n"]
    same_class: Bool[np.ndarray, "n"] | None


def ranked(
    queries: Float[np.ndarray, "n d"],
    gallery: Float[np.ndarray, "n e"],
    *,
    index: Int[np.ndarray, "n"],
    labels: Int[np.ndarray, "n"] | None = None,
    similarity: Similarity = cosines,
) -> Ranking:
    """What `retrieval` is the summary of."""
    queries = finite_features(queries, "query embeddings")
    gallery = finite_features(gallery, "gallery embeddings")
    index, labels = _identities(queries, gallery, index, labels)
    ranks, same_class = _ranks(queries, gallery, index, labels, similarity)
    return Ranking(ranks, None if labels is None else same_class)


def class_chance(labels: Int[np.ndarray, "n"]) -> float:
    """`class_p1` of a random ranking: the sum over classes of the square of their share."""
    _, counts = np.unique(labels, return_counts=True)
    return float((counts.astype(np.float64) ** 2).sum() / counts.sum() ** 2)


def retrieval_chance(
    index: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"] | None = None
) -> dict[str, float]:
    """What a random ranking of the same clips gives on average, by the same names.

    Without repeated records 1 / n for `r1` and (n + 1) / 2 for `median_rank`.
    """
    _, inverse, counts = np.unique(index, return_inverse=True, return_counts=True)
    partners, num_clips = counts[inverse], len(inverse)
    chance = {}
    for k in CUTOFFS:
        # None of the first k of a shuffled gallery is one of the query's partners.
        missed = np.ones(num_clips)
        for place in range(min(k, num_clips)):
            missed *= np.maximum(num_clips - partners - place, 0) / (num_clips - place)
        chance[f"r{k}"] = round(1 - float(missed.mean()), 12)
    # A rank counts the clips of other records that stand before the first of the partners.
    chance["median_rank"] = float(np.median(1 + (num_clips - partners) / (partners + 1)))
    if labels is not None:
        chance["class_p1"] = class_chance(labels)
    return chance


def _identities(queries, gallery, index, labels):
    index = np.asarray(index)
    if not len(queries) == len(gallery) == len(index):
        raise ValueError(
            f"{len(queries)} queries, {len(gallery)} gallery rows and {len(index)} indices "
            "are not the same clips"
        )
    if not len(index):
        raise UsageError("retrieval needs clips that have both modalities; there are none")
    if labels is not None:
        labels = labelled(queries, labels, protocol="retrieval", part="test")
    # Dense, so that no value can be mistaken for padding.
    return np.unique(index, return_inverse=True)[1], labels


def query_rows(num_clips: int) -> int:
    """Queries in a block, so that their scores against the whole gallery are not too many."""
    affordable = max(16, SCORES_AT_ONCE // num_clips)
    return block_rows(num_clips, 1 << affordable.bit_length() - 1)


def _ranks(queries, gallery, index, labels, similarity):
    """Rank of the partner and whether the nearest has the same class, for each query."""
    num_clips = len(queries)
    labels = np.zeros(num_clips, np.int32) if labels is None else labels.astype(np.int32)
    block = block_rows(num_clips, GALLERY_BLOCK)
    of_gallery = (
        jnp.asarray(in_blocks(gallery, block, 0.0)),
        jnp.asarray(in_blocks(index.astype(np.int32), block, PADDING)),
        jnp.asarray(in_blocks(labels, block, PADDING)),
    )
    rows = query_rows(num_clips)
    of_queries = zip(
        in_blocks(queries, rows, 0.0),
        in_blocks(index.astype(np.int32), rows, PADDING),
        in_blocks(labels, rows, PADDING),
        strict=True,
    )
    if not isinstance(similarity, jax.tree_util.Partial):
        similarity = jax.tree_util.Partial(similarity)
    parts = [rank_block(similarity, query, of_gallery) for query in of_queries]
    ranks, same_class, finite = (
        np.concatenate(part)[:num_clips] for part in zip(*parts, strict=True)
    )
    if not finite.all():
        raise AvsslError(
            f"the similarity of query row {np.argmin(finite)} with some gallery row is not finite; "
            "evaluate an earlier checkpoint"
        )
    return ranks, same_class


@jax.jit
def rank_block(
    similarity: jax.tree_util.Partial,
    of_queries: tuple[Float[Array, "q d"], Int[Array, "q"], Int[Array, "q"]],
    of_gallery: tuple[Float[Array, "b g e"], Int[Array, "b g"], Int[Array, "b g"]],
) -> tuple[Int[Array, "q"], Bool[Array, "q"], Bool[Array, "q"]]:
    """For each query its partner's rank, whether the nearest has its class, if all is finite."""
    queries, query_index, query_labels = of_queries
    gallery, index, labels = of_gallery
    index, labels = index[:, None], labels[:, None]
    scores = jax.lax.map(functools.partial(similarity, queries), gallery)  # [b, q, g]
    real = index != PADDING
    over_gallery = (0, 2)

    finite = (jnp.isfinite(scores) | ~real).all(over_gallery)
    partner = index == query_index[None, :, None]
    best_partner = _largest_where(partner & real, scores)
    ahead = ~partner & real & (scores >= best_partner[None, :, None])
    same_class = labels == query_labels[None, :, None]
    best_same = _largest_where(same_class & real, scores)
    best_other = _largest_where(~same_class & real, scores)
    return 1 + ahead.sum(over_gallery), best_same > best_other, finite


def _largest_where(
    chosen: Bool[Array, "b q g"], scores: Float[Array, "b q g"]
) -> Float[Array, "q"]:
    return jnp.where(chosen, scores, -jnp.inf).max((0, 2))
