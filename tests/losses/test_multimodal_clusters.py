"""MCN's losses against loops in numpy, its k-means and its queue, and what is missing or degenerate."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.multimodal_clusters import (
    clustered_rows,
    clustering_loss,
    cosine_kmeans,
    draw_centroids,
    fuse,
    masked_margin_softmax,
    online_clusters,
    pairwise_contrastive,
    push_rows,
    queue_is_full,
    reconstruction_loss,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
INDEX = np.array([4, 7, 4, 1, 9, 7])
ABSENT = {"audio": [0, 0, 0, 1, 0, 0], "text": [0, 1, 0, 1, 0, 0], "video": [0, 0, 0, 0, 0, 1]}
PRESENT = {name: ~np.array(rows, bool) for name, rows in ABSENT.items()}

kmeans = jax.jit(cosine_kmeans, static_argnames=("max_iterations", "empty_to_zero"))


def embeddings(names=("audio", "text", "video"), num=6, dim=5):
    random = np.random.default_rng(0)
    drawn = {name: random.standard_normal((num, dim)) for name in ("audio", "text", "video")}
    return {name: drawn[name] for name in names}


def arrays(tree):
    return jax.tree.map(jnp.asarray, tree)


def naive_margin_softmax(S, index, present, margin, same_record_negatives):
    rows = np.flatnonzero(present)
    losses = {0: [], 1: []}
    for axis, matrix in enumerate((S, S.T)):
        for i in rows:
            others = [j for j in rows if j != i and (same_record_negatives or index[j] != index[i])]
            own = np.exp(matrix[i, i] - margin)
            total = own + sum(np.exp(matrix[i, j]) for j in others)
            losses[axis].append(-np.log(own / total))
    return np.mean(losses[0]) + np.mean(losses[1])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("same_record_negatives", [False, True])
@pytest.mark.parametrize("names", [("audio", "video"), ("audio", "text", "video")])
def test_contrastive_equals_loops(names, same_record_negatives):
    rows = embeddings(names)
    loss, metrics = jax.jit(
        partial(pairwise_contrastive, margin=0.3, same_record_negatives=same_record_negatives)
    )(arrays(rows), arrays({n: PRESENT[n] for n in names}), index=jnp.asarray(INDEX))
    pairs = [(a, b) for a in names for b in names if a < b]
    expected = sum(
        naive_margin_softmax(
            rows[a] @ rows[b].T, INDEX, PRESENT[a] & PRESENT[b], 0.3, same_record_negatives
        )
        for a, b in pairs
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for a, b in pairs:
        assert int(metrics[f"num_{a}_{b}_pairs"]) == (PRESENT[a] & PRESENT[b]).sum()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("same_record_negatives", [False, True])
def test_in_blocks_it_is_the_same(same_record_negatives):
    def contrast(rows, blocks):
        return pairwise_contrastive(
            rows, arrays(PRESENT), index=jnp.asarray(INDEX), margin=0.3,
            same_record_negatives=same_record_negatives, blocks=blocks,
        )  # fmt: skip

    whole, parts = (
        jax.value_and_grad(contrast, has_aux=True)(arrays(embeddings()), blocks)
        for blocks in (1, 3)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-14), parts, whole)


@pytest.mark.usefixtures("float64")
def test_top1_counts_the_diagonal_against_its_negatives():
    S = jnp.asarray([[2.0, 1.0, 3.0], [0.0, 1.0, 5.0], [0.0, 0.0, 4.0]])
    present = jnp.ones(3, bool)
    top1 = [
        masked_margin_softmax(S, jnp.eye(3), index=jnp.asarray(index), present=present)[1]
        for index in ([0, 1, 2], [0, 1, 0])
    ]
    np.testing.assert_allclose(top1[0], [1 / 3, 1 / 3])
    np.testing.assert_allclose(top1[1], [2 / 3, 1 / 3])


@pytest.mark.usefixtures("float64")
def test_clustering_equals_loops_and_does_not_move_centroids():
    rows, centroids = embeddings(), np.random.default_rng(1).standard_normal((4, 5))
    labels = np.array([0, 3, 1, 1, 2, 0])
    expected = []
    for name in rows:
        losses = []
        for i in np.flatnonzero(PRESENT[name]):
            logits = centroids @ rows[name][i]
            logits[labels[i]] -= 0.2
            losses.append(-np.log(np.exp(logits[labels[i]]) / np.exp(logits).sum()))
        expected.append(np.mean(losses))

    def forward(centroids):
        return clustering_loss(
            arrays(rows),
            arrays(PRESENT),
            centroids=centroids,
            labels=jnp.asarray(labels, jnp.int32),
            margin=0.2,
        )

    loss, gradient = jax.jit(jax.value_and_grad(forward))(jnp.asarray(centroids))
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-12)
    np.testing.assert_array_equal(gradient, 0.0)


def total_loss(rows, present):
    """All losses on one fit of the clusters."""
    fused, some = fuse(rows, present)
    centroids = draw_centroids(jax.random.key(0), fused, present=some, num_clusters=3)
    labels, centroids = cosine_kmeans(fused, centroids, present=some)
    contrastive, _ = pairwise_contrastive(rows, present, index=jnp.asarray(INDEX, jnp.int32))
    errors = {name: jnp.sum(x**2, axis=1) for name, x in rows.items()}
    return (
        contrastive
        + clustering_loss(rows, present, centroids=centroids, labels=labels)
        + reconstruction_loss(errors, present)
    )


def test_absent_rows_may_hold_anything():
    value_and_gradient = jax.jit(jax.value_and_grad(total_loss))
    rows = {name: x.astype(np.float32) for name, x in embeddings().items()}
    expected = value_and_gradient(arrays(rows), arrays(PRESENT))
    assert np.isfinite(expected[0])
    for filling in (np.nan, np.inf, 1e30):
        other = {name: x.copy() for name, x in rows.items()}
        for name in other:
            other[name][~PRESENT[name]] = filling
        loss, gradients = value_and_gradient(arrays(other), arrays(PRESENT))
        np.testing.assert_array_equal(loss, expected[0])
        for name in rows:
            counted = PRESENT[name]
            np.testing.assert_array_equal(gradients[name][counted], expected[1][name][counted])

    nobody = {name: np.zeros(6, bool) for name in rows}
    loss, gradients = value_and_gradient(arrays(rows), arrays(nobody))
    assert loss == 0.0
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0.0), gradients)


def test_fused_is_the_mean_of_what_a_row_has():
    rows = {name: x.astype(np.float32) for name, x in embeddings().items()}
    fused, some = fuse(arrays(rows), arrays(PRESENT))
    np.testing.assert_allclose(fused[0], sum(x[0] for x in rows.values()) / 3, rtol=1e-5)
    np.testing.assert_allclose(fused[3], rows["video"][3])
    assert some.all()
    only_video = {n: p & (n == "video") for n, p in PRESENT.items()}
    _, some = fuse(arrays(rows), arrays(only_video))
    np.testing.assert_array_equal(some, PRESENT["video"])
    gradient = jax.grad(lambda r: jnp.sum(fuse(r, arrays(PRESENT))[0]))(arrays(rows))
    assert not any(g.any() for g in jax.tree.leaves(gradient))


def groups(num=40, dim=6):
    """Rows around four directions, of any length."""
    random = np.random.default_rng(2)
    truth = np.arange(num) % 4
    rows = np.eye(4, dim)[truth] + 0.1 * random.standard_normal((num, dim))
    return (rows * random.uniform(0.5, 2, (num, 1))).astype(np.float32), truth


def test_kmeans_finds_groups_whatever_absent_rows_hold():
    rows, truth = groups()
    present = np.arange(40) % 5 != 0
    start = jnp.asarray(rows[1:5])
    labels, centroids = kmeans(jnp.asarray(rows), start, present=jnp.asarray(present))
    np.testing.assert_array_equal(labels[present], ((truth - 1) % 4)[present])
    means = [rows[present & (truth == k)].mean(axis=0) for k in (1, 2, 3, 0)]
    np.testing.assert_allclose(centroids, means, rtol=1e-5, atol=1e-6)
    rows[~present] = np.nan
    again = kmeans(jnp.asarray(rows), start, present=jnp.asarray(present))
    np.testing.assert_array_equal(again[1], centroids)


def test_an_emptied_cluster_keeps_its_centroid_or_falls_to_zero_as_released():
    rows, truth = groups()
    everyone = jnp.ones(40, bool)
    start = np.eye(5, 6, dtype=np.float32)
    start[4] = -1.0  # away from every row
    kept = kmeans(jnp.asarray(rows), jnp.asarray(start), present=everyone)
    fallen = kmeans(jnp.asarray(rows), jnp.asarray(start), present=everyone, empty_to_zero=True)
    for labels, centroids in (kept, fallen):
        np.testing.assert_array_equal(labels, truth)
        assert np.isfinite(centroids).all()
    np.testing.assert_array_equal(kept[1][4], start[4])
    np.testing.assert_array_equal(fallen[1][4], 0.0)


@pytest.mark.parametrize("rows", [np.zeros((6, 3)), np.ones((6, 3))], ids=["zeros", "equal"])
def test_degenerate_rows_make_one_cluster(rows):
    rows, present = jnp.asarray(rows, jnp.float32), jnp.ones(6, bool)
    start = draw_centroids(jax.random.key(0), rows, present=present, num_clusters=4)
    labels, centroids = kmeans(rows, start, present=present)
    np.testing.assert_array_equal(labels, 0)
    np.testing.assert_array_equal(centroids, rows[:4])


def test_drawn_centroids_are_different_present_rows():
    rows = jnp.asarray(np.arange(20)[:, None] * np.ones((1, 2)), jnp.float32)
    present = jnp.asarray(np.arange(20) % 2 == 1)
    draw = partial(draw_centroids, vectors=rows, present=present)
    drawn = np.asarray(draw(jax.random.key(0), num_clusters=7))[:, 0]
    assert len(set(drawn)) == 7
    assert (drawn % 2 == 1).all()
    many = np.asarray(draw(jax.random.key(0), num_clusters=25))[:, 0]
    values, counts = np.unique(many, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(1, 20, 2))
    assert sorted(counts) == [2] * 5 + [3] * 5


def test_queue_keeps_the_first_clips_of_each_video():
    queue = jnp.full((6, 1), 9.0)
    fused = jnp.arange(8.0)[:, None]  # two videos of four clips
    queue = push_rows(queue, fused, clips_per_video=4, kept_per_video=1)
    np.testing.assert_array_equal(queue[:, 0], [0, 4, 9, 9, 9, 9])
    with pytest.raises(ValueError, match="6 rows does not hold whole blocks of 4 rows"):
        push_rows(queue, fused, clips_per_video=2, kept_per_video=1)


def test_queue_counts_once_full_and_without_rows_of_zeros():
    no, everyone = jnp.zeros((), bool), jnp.ones(2, bool)
    queue = jnp.asarray([[1.0], [2.0], [0.0], [0.0]])
    fused = jnp.asarray([[5.0], [6.0]])
    assert not queue_is_full(queue, no, block=2)
    rows, counted = clustered_rows(queue, no, fused, everyone)
    np.testing.assert_array_equal(rows[counted], fused)
    last_is_absent = jnp.asarray([[1.0], [2.0], [3.0], [0.0]])
    assert queue_is_full(last_is_absent, no, block=2)
    rows, counted = clustered_rows(last_is_absent, ~no, fused, everyone)
    np.testing.assert_array_equal(rows[counted][:, 0], [1, 2, 3, 5, 6])


def test_online_clusters_follow_their_schedule():
    """Four steps: drawn and fitted, labelled only, fitted with the full queue, drawn anew."""
    rows, _ = groups(8)
    present = jnp.ones(8, bool)
    step = jax.jit(partial(online_clusters, clips_per_video=2, kept_per_video=1, present=present))
    queue, in_use = jnp.zeros((8, 6), jnp.float32), jnp.zeros((), bool)
    centroids = jnp.zeros((4, 6), jnp.float32)
    used = []
    for number in range(4):
        fused = jnp.asarray(np.roll(rows, number, axis=0) + 0.01 * number)
        refit, restart, key = number == 2, number in (0, 3), jax.random.key(number)
        labels, after, new_queue, in_use = step(
            queue,
            in_use,
            centroids,
            fused,
            key=key,
            refit=jnp.asarray(refit),
            restart=jnp.asarray(restart),
        )
        used.append(bool(in_use))
        # The same from the parts, with the queue's rows there only when they count.
        start = centroids
        if restart:
            everything, counted = clustered_rows(queue, in_use, fused, present)
            start = draw_centroids(key, everything, present=counted, num_clusters=4)
        pool = jnp.concatenate([queue, fused]) if used[-1] else fused
        iterations = 100 if refit or restart else 1
        expected, moved = kmeans(
            pool, start, present=jnp.ones(len(pool), bool), max_iterations=iterations
        )
        np.testing.assert_array_equal(labels, expected[-8:])
        expected = moved if refit or restart else start
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
        assert len(np.unique(labels)) > 1
        np.testing.assert_array_equal(new_queue, jnp.concatenate([fused[::2], queue[:4]]))
        centroids, queue = after, new_queue
    assert used == [False, False, True, True]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("given", "computed"), [("bfloat16", "float32"), ("float64", "float64")])
def test_everything_is_computed_in_float32_or_wider(given, computed):
    rows = {name: jnp.asarray(x, given) for name, x in embeddings().items()}
    loss = jax.jit(total_loss)(rows, arrays(PRESENT))
    assert loss.dtype == computed
    assert np.isfinite(loss)
