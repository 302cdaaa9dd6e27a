"""Lloyd's k-means for pseudo-labels, in bounded memory and on rows that may be spread over a mesh."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from avssl.losses.precision import dot, widen
from avssl.losses.rows import blank_absent

# Rows whose distances to all centroids are held at once; on two CPU cores the fastest of those tried.
ROWS_PER_CHUNK = 4096


def kmeans(
    features: Float[Array, "n d"],
    initial: Float[Array, "k d"],
    *,
    present: Bool[Array, "n"] | None = None,
    max_iterations: int = 100,
    tolerance: float = 0.0,
    rows_per_chunk: int = ROWS_PER_CHUNK,
) -> dict[str, Array]:
    """Lloyd iterations from the centroids `initial`, until they stand still.

    Returns labels [n] (-1 where absent), centroids [k, d], square_distance [n] of each row from its
    centroid (0 where absent), inertia (their sum), sizes [k] and num_iterations.

    Each iteration gives every row to its nearest centroid (of equals, the first) and moves each
    centroid to the mean of its rows. It ends when the sum of squared moves is at most `tolerance`
    (0: until no row changes) or after `max_iterations`.

    The centroid of the i-th empty cluster goes to the row that is i-th farthest from its own
    centroid; where no row is off its centroid by more than rounding, the empty cluster keeps its
    centroid, so fewer distinct rows than clusters leave some empty, and nothing else happens.

    Rows with `present` False may hold anything and count nowhere. At no time are there more than
    rows_per_chunk x k distances. A chunk takes every so-many-th row, so that rows sharded over a
    mesh stay where they are; a number of rows that chunks cannot divide costs one padded copy.
    """
    num_rows, num_clusters = features.shape[0], initial.shape[0]
    _refuse_more_clusters_than_rows(num_clusters, num_rows)
    if max_iterations < 1:
        raise ValueError(f"k-means needs at least 1 iteration, not {max_iterations}")
    if present is None:
        present = jnp.ones(num_rows, bool)
    # A loop of unknown length has no gradient, and pseudo-labels need none.
    features, initial = lax.stop_gradient((features, initial))
    chunks, chunks_present = _chunked(features, present, rows_per_chunk)

    def one_pass(centroids: Array) -> dict[str, Array]:
        return _assign(chunks, chunks_present, centroids)

    def iterate(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        iteration, centroids, _ = state
        moved = _means(one_pass(centroids), centroids, features)
        return iteration + 1, moved, jnp.sum((moved - centroids) ** 2)

    def goes_on(state: tuple[Array, Array, Array]) -> Array:
        iteration, _, move = state
        return (iteration < max_iterations) & (move > tolerance)

    first = widen(initial)
    start = (jnp.zeros((), jnp.int32), first, jnp.full((), jnp.inf, first.dtype))
    iteration, centroids, _ = lax.while_loop(goes_on, iterate, start)
    assigned = one_pass(centroids)
    return {
        "labels": assigned["labels"][:num_rows],
        "centroids": centroids,
        "square_distance": assigned["square_distance"][:num_rows],
        "inertia": jnp.sum(assigned["square_distance"]),
        "sizes": assigned["sizes"],
        "num_iterations": iteration,
    }


def nearest_centroid(
    features: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    *,
    present: Bool[Array, "n"] | None = None,
    rows_per_chunk: int = ROWS_PER_CHUNK,
) -> tuple[Int[Array, "n"], Float[Array, "n"]]:
    """The label of each row, and its squared distance from that centroid, as `kmeans` has them."""
    if present is None:
        present = jnp.ones(features.shape[0], bool)
    chunks, chunks_present = _chunked(features, present, rows_per_chunk)
    assigned = _assign(chunks, chunks_present, widen(centroids))
    return assigned["labels"][: len(features)], assigned["square_distance"][: len(features)]


def random_rows(
    key: Array, features: Float[Array, "n d"], num_clusters: int, *, present: Bool[Array, "n"]
) -> Float[Array, "k d"]:
    """Initial centroids: different rows drawn among the present ones (absent ones give zeros)."""
    _refuse_more_clusters_than_rows(num_clusters, features.shape[0])
    rank = jnp.where(present, jax.random.uniform(key, present.shape, jnp.float32), -1.0)
    chosen = lax.top_k(rank, num_clusters)[1]
    return blank_absent(features[chosen], present[chosen])


def plus_plus_rows(
    key: Array, features: Float[Array, "n d"], num_clusters: int, *, present: Bool[Array, "n"]
) -> Float[Array, "k d"]:
    """Initial centroids by k-means++ (Arthur & Vassilvitskii 2007), without its greedy trials.

    Each next row is drawn with a probability proportional to the squared distance from the nearest
    row drawn so far. `num_clusters` passes over the rows, one after the other. When every row has
    been drawn, or equals one that has, further draws are uniform.
    """
    _refuse_more_clusters_than_rows(num_clusters, features.shape[0])
    wide = blank_absent(features, present)

    def draw(step: Int[Array, ""], square: Float[Array, "n"]) -> Int[Array, ""]:
        # Gumbel noise on log-probabilities draws from them; -1e30 is "only if all others are, too".
        chance = jnp.where(square > 0.0, jnp.log(jnp.where(square > 0.0, square, 1.0)), -1e30)
        noise = jax.random.gumbel(jax.random.fold_in(key, step), square.shape, square.dtype)
        lottery = jnp.where(jnp.any(square > 0.0), chance + noise, noise)
        return jnp.argmax(jnp.where(present, lottery, -jnp.inf))

    def add(step: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        centroids, square = state
        chosen = wide[draw(step, square)]
        apart = jnp.sum((wide - chosen[None]) ** 2, axis=1)
        return centroids.at[step].set(chosen), jnp.minimum(square, jnp.where(present, apart, 0.0))

    none_yet = jnp.zeros((num_clusters, wide.shape[1]), wide.dtype)
    anywhere = jnp.where(present, jnp.asarray(jnp.finfo(wide.dtype).max, wide.dtype), 0.0)
    return lax.fori_loop(0, num_clusters, add, (none_yet, anywhere))[0]


def _refuse_more_clusters_than_rows(num_clusters: int, num_rows: int) -> None:
    if num_clusters < 1 or num_clusters > num_rows:
        raise ValueError(f"cannot make {num_clusters} clusters of {num_rows} rows")


def _chunked(
    features: Float[Array, "n d"], present: Bool[Array, "n"], rows_per_chunk: int
) -> tuple[Float[Array, "rows chunks d"], Bool[Array, "rows chunks"]]:
    """Row i goes to chunk i % chunks: a shard of the rows then holds an equal part of every chunk."""
    num_rows = features.shape[0]
    fewest = -(-num_rows // rows_per_chunk)
    # A few more chunks may divide the rows evenly, which spares a padded copy of them all.
    even = (number for number in range(fewest, 2 * fewest) if num_rows % number == 0)
    num_chunks = next(even, fewest)
    missing = -num_rows % num_chunks
    if missing:
        features = jnp.pad(features, ((0, missing), (0, 0)))
        present = jnp.pad(present, (0, missing))
    return features.reshape(-1, num_chunks, features.shape[1]), present.reshape(-1, num_chunks)


def _assign(
    chunks: Float[Array, "rows chunks d"],
    chunks_present: Bool[Array, "rows chunks"],
    centroids: Float[Array, "k d"],
) -> dict[str, Array]:
    """One pass over the rows: an assignment, and the sums that the next centroids need."""
    num_clusters = centroids.shape[0]
    half_square = 0.5 * jnp.sum(centroids**2, axis=1)

    def assign_chunk(carry: tuple[Array, Array], number: Array):
        sums, sizes = carry
        here = lax.dynamic_index_in_dim(chunks_present, number, 1, keepdims=False)
        rows = widen(lax.dynamic_index_in_dim(chunks, number, 1, keepdims=False))
        rows = jnp.where(here[:, None], rows, 0.0)
        # |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - x.c), of which the bracket orders the centroids.
        score = half_square[None] - dot(rows, centroids.T)
        label = jnp.argmin(score, axis=1).astype(jnp.int32)
        # Once more without the cancellation, for the one centroid that matters.
        square = jnp.sum((rows - centroids[label]) ** 2, axis=1)
        # Absent rows go to a cluster past the last, which is cut off: cheaper than a mask.
        into = jnp.where(here, label, num_clusters)
        sums += jax.ops.segment_sum(rows, into, num_clusters + 1)[:-1]
        sizes += jax.ops.segment_sum(here.astype(jnp.int32), into, num_clusters + 1)[:-1]
        return (sums, sizes), (jnp.where(here, label, -1), jnp.where(here, square, 0.0))

    nothing = jnp.zeros_like(centroids), jnp.zeros(num_clusters, jnp.int32)
    (sums, sizes), (labels, square) = lax.scan(assign_chunk, nothing, jnp.arange(chunks.shape[1]))
    return {
        "labels": labels.T.reshape(-1),
        "square_distance": square.T.reshape(-1),
        "sums": sums,
        "sizes": sizes,
    }


def _means(
    assigned: dict[str, Array],
    before: Float[Array, "k d"],
    features: Float[Array, "n d"],
) -> Float[Array, "k d"]:
    """The next centroids: means of the rows of each cluster; those without rows are put on far ones."""
    vacant = assigned["sizes"] == 0
    divisor = jnp.maximum(assigned["sizes"], 1).astype(before.dtype)[:, None]
    means = assigned["sums"] / divisor

    def reseed() -> Array:
        distance = assigned["square_distance"][: features.shape[0]]
        farthest, rows = lax.top_k(distance, before.shape[0])
        rank = jnp.cumsum(vacant) - 1
        seeds = widen(features[rows])[rank]
        # Below this the distance may be rounding: moving there would go on for ever.
        resolution = jnp.finfo(before.dtype).eps * jnp.sum(seeds**2, axis=1)
        far = (farthest[rank] > resolution)[:, None]
        return jnp.where(vacant[:, None], jnp.where(far, seeds, before), means)

    return lax.cond(jnp.any(vacant), reseed, lambda: means)
