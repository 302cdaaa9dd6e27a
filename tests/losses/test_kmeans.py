"""k-means against loops in numpy and scikit-learn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sklearn.cluster import KMeans

from avssl.losses.kmeans import kmeans, nearest_centroid, plus_plus_rows, random_rows

pytestmark = pytest.mark.usefixtures("strict_dtypes")
STATIC = ("max_iterations", "tolerance", "rows_per_chunk")
clusters = jax.jit(kmeans, static_argnames=STATIC)
draws = pytest.mark.parametrize("draw", [random_rows, plus_plus_rows])


def blobs(num: int = 90, dim: int = 5, num_blobs: int = 6, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    places = 3.0 * random.standard_normal((num_blobs, dim))
    rows = places[random.integers(0, num_blobs, num)] + random.standard_normal((num, dim))
    return rows.astype(np.float32)


def found(features, initial, **options):
    return clusters(jnp.asarray(features), jnp.asarray(initial), **options)


@pytest.mark.parametrize("rows_per_chunk", [7, 16, 90, 4096])
def test_equals_scikit_learn_whatever_the_chunks(rows_per_chunk):
    features = blobs()
    official = KMeans(6, init=features[:6], n_init=1, tol=0.0, algorithm="lloyd").fit(features)
    mine = found(features, features[:6], rows_per_chunk=rows_per_chunk)
    np.testing.assert_array_equal(mine["labels"], official.labels_)
    np.testing.assert_allclose(mine["centroids"], official.cluster_centers_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mine["inertia"], official.inertia_, rtol=1e-5)
    assert mine["num_iterations"] == official.n_iter_
    np.testing.assert_array_equal(mine["sizes"], np.bincount(official.labels_, minlength=6))


def test_labels_are_of_the_centroids_that_are_returned():
    features = blobs(seed=2)
    mine = found(features, features[:4], max_iterations=1)
    labels, square = nearest_centroid(jnp.asarray(features), mine["centroids"])
    np.testing.assert_array_equal(mine["labels"], labels)
    np.testing.assert_allclose(mine["square_distance"], square, rtol=1e-5, atol=1e-6)


def test_tolerance_is_on_the_sum_of_squared_moves():
    features = blobs()
    one, two = (found(features, features[:6], max_iterations=n)["centroids"] for n in (1, 2))
    move = float(jnp.sum((two - one) ** 2))
    assert found(features, features[:6], tolerance=1.01 * move)["num_iterations"] == 2
    assert found(features, features[:6], tolerance=0.99 * move)["num_iterations"] > 2


def test_absent_rows_may_hold_anything():
    features = blobs()
    present = np.arange(90) % 4 != 1
    expected = found(features[present], features[:1].repeat(6, 0) + np.eye(6, 5, dtype="f"))
    for filling in (np.nan, np.inf, 1e6):
        filled = np.where(present[:, None], features, np.float32(filling))
        initial = features[:1].repeat(6, 0) + np.eye(6, 5, dtype="f")
        mine = found(filled, initial, present=jnp.asarray(present), rows_per_chunk=16)
        np.testing.assert_array_equal(mine["labels"][present], expected["labels"])
        np.testing.assert_array_equal(mine["labels"][~present], -1)
        np.testing.assert_allclose(mine["inertia"], expected["inertia"], rtol=1e-5)
        assert mine["sizes"].sum() == present.sum()


def test_an_empty_cluster_restarts_on_the_farthest_row():
    features = np.array([[0.0], [0.1], [0.2], [9.0], [30.0]], np.float32)
    initial = np.array([[0.0], [1e4], [-1e4]], np.float32)
    moved = found(features, initial, max_iterations=1)
    np.testing.assert_allclose(moved["centroids"], [[features.mean()], [30.0], [9.0]])
    done = found(features, initial)
    np.testing.assert_array_equal(done["labels"], [0, 0, 0, 2, 1])


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_equal_rows_stay_together_and_finite(value):
    features = np.full((33, 4), value, np.float32)
    mine = found(features, features[:5])
    # The mean may be off by rounding; then each exact centroid wins all rows once.
    assert mine["num_iterations"] <= 5 + 2
    assert mine["sizes"].max() == 33
    assert np.isfinite(mine["centroids"]).all()
    np.testing.assert_allclose(mine["inertia"], 0.0, atol=1e-6 * (1 + value**2))


def test_fewer_distinct_rows_than_clusters():
    features = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    mine = found(features, features[[0, 1, 2, 5, 10]])
    assert mine["inertia"] == 0.0
    assert (np.asarray(mine["sizes"]) > 0).sum() == 3
    assert mine["num_iterations"] < 5


def test_no_row_present_is_finite():
    features = blobs(num=8)
    mine = found(features, features[:3], present=jnp.zeros(8, bool))
    assert mine["inertia"] == 0.0
    np.testing.assert_array_equal(mine["labels"], -1)
    np.testing.assert_array_equal(mine["centroids"], features[:3])


def test_more_clusters_than_rows_and_no_iteration_are_refused():
    features = jnp.asarray(blobs(num=4))
    with pytest.raises(ValueError, match="5 clusters of 4 rows"):
        kmeans(features, jnp.zeros((5, 5)))
    for draw in (random_rows, plus_plus_rows):
        with pytest.raises(ValueError, match="5 clusters of 4 rows"):
            draw(jax.random.key(0), features, 5, present=jnp.ones(4, bool))
    with pytest.raises(ValueError, match="at least 1 iteration"):
        kmeans(features, features[:2], max_iterations=0)


@draws
def test_initial_rows_are_different_present_rows(draw):
    features = blobs(num=20)
    present = np.arange(20) % 2 == 0
    features[~present] = np.nan
    drawn = partial(draw, features=jnp.asarray(features), num_clusters=10)
    rows = np.asarray(jax.jit(drawn)(jax.random.key(3), present=jnp.asarray(present)))
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(features[present], axis=0))
    other = drawn(jax.random.key(4), present=jnp.asarray(present))
    assert (np.asarray(other) != rows).any()


@draws
def test_initial_rows_of_equal_or_missing_features_are_finite(draw):
    equal = draw(jax.random.key(0), jnp.ones((6, 2)), 4, present=jnp.ones(6, bool))
    np.testing.assert_array_equal(equal, 1.0)
    missing = draw(jax.random.key(0), jnp.full((6, 2), jnp.nan), 4, present=jnp.zeros(6, bool))
    np.testing.assert_array_equal(missing, 0.0)


def test_plus_plus_draws_by_squared_distance():
    """From one of two points, 1 and 3 away lie the others: drawn second 1 to 9."""
    features = jnp.array([[0.0], [0.0], [1.0], [3.0]])
    first_is_zero = jnp.array([True, True, False, False])
    second = jax.vmap(
        lambda key: plus_plus_rows(key, features, 2, present=jnp.ones(4, bool))[:, 0]
    )(jax.random.split(jax.random.key(0), 2000))
    from_zero = second[:, 0] == 0.0
    np.testing.assert_allclose(from_zero.mean(), first_is_zero.mean(), atol=0.05)
    np.testing.assert_allclose((second[from_zero, 1] == 3.0).mean(), 0.9, atol=0.03)


def test_bf16_rows_are_summed_in_float32():
    features = jnp.asarray(blobs(), jnp.bfloat16)
    mine = clusters(features, features[:6])
    wide = clusters(features.astype(jnp.float32), features[:6].astype(jnp.float32))
    assert mine["centroids"].dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, mine, wide)


@pytest.mark.parametrize("num", [88, 90])
def test_rows_sharded_over_a_mesh(num):
    features, initial = blobs(num=num), blobs(num=num)[:6]
    alone = found(features, initial, rows_per_chunk=16)
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    present = np.arange(-(-num // 8) * 8) < num
    padded = np.pad(features, ((0, len(present) - num), (0, 0)))
    rows = NamedSharding(mesh, PartitionSpec("rows"))
    spread = clusters(
        jax.device_put(padded, rows),
        jax.device_put(initial, NamedSharding(mesh, PartitionSpec())),
        present=jax.device_put(present, rows),
        rows_per_chunk=16,
    )
    np.testing.assert_array_equal(spread["labels"][:num], alone["labels"])
    np.testing.assert_allclose(spread["centroids"], alone["centroids"], rtol=1e-5, atol=1e-6)


def test_memory_holds_neither_all_distances_nor_all_differences():
    num, dim, num_clusters = 65536, 32, 128
    compiled = clusters.lower(
        jax.ShapeDtypeStruct((num, dim), jnp.float32),
        jax.ShapeDtypeStruct((num_clusters, dim), jnp.float32),
        rows_per_chunk=1024,
    ).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < num * num_clusters * 4 / 8
