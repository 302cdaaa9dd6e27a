"""AVID and CMA against loops in numpy: groups, weights, the released mistake, absent rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.avid import avid_loss, cma_loss

pytestmark = pytest.mark.usefixtures("strict_dtypes")
NUM_ROWS, DIM = 30, 6
INDEX = np.array([4, 7, 4, 29])
PRESENT = np.array([1, 1, 0, 1], bool)
ALL = np.ones(4, bool)


def world(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)

    def unit(num):
        rows = random.standard_normal((num, DIM))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return {
        "video": unit(4),
        "audio": unit(4),
        "video_bank": unit(NUM_ROWS),
        "audio_bank": unit(NUM_ROWS),
        "index": INDEX,
        "positives": random.integers(0, NUM_ROWS, (4, 3)),
        "negatives": random.integers(0, NUM_ROWS, (4, 8)),
    }


def naive(arrays, terms, present, partition, temperature=0.07):
    """(loss, Z) of terms (weight, query, bank, positives, number of negatives), one at a time."""
    loss = 0.0
    for weight, query, bank, positives, num_negatives in terms:
        bank = arrays[f"{bank}_bank"]
        negatives = arrays["negatives"][:, :num_negatives]
        positive, negative = (
            np.exp(np.einsum("bd,bkd->bk", arrays[query], bank[index])[present] / temperature)
            for index in (positives, negatives)
        )
        partition = partition or negative.mean()
        noise = negative.shape[1] * partition
        found = -np.log(positive / (positive + noise)).mean(1)
        refused = -np.log(noise / (negative + noise)).sum(1)
        loss += weight * (found + refused).mean()
    return loss, partition


def run(function, arrays, present=ALL, partition=0.0, **settings):
    arrays = {name: jnp.asarray(value) for name, value in arrays.items()}
    if function is avid_loss:
        del arrays["positives"]
    arrays |= {"partition": jnp.asarray(partition), "present": jnp.asarray(present)}
    return jax.jit(lambda arrays: function(**arrays, **settings))(arrays)


def groups(own: np.ndarray, agreeing: np.ndarray, num_within: int | None):
    crossing, staying = (("video", "audio"), ("audio", "video")), (("video",) * 2, ("audio",) * 2)
    return (
        [(*pair, own, None) for pair in crossing],
        [(*pair, own, None) for pair in staying],
        [(*pair, agreeing, None) for pair in crossing],
        [(*pair, agreeing, num_within) for pair in staying],
    )


def weighted(parts, weights):
    return [
        (weight / sum(weights) / 2, *term)
        for part, weight in zip(parts, weights, strict=True)
        for term in part
        if weight > 0
    ]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("partition", [0.0, 40.0], ids=["first batch", "frozen"])
@pytest.mark.parametrize("present", [ALL, PRESENT], ids=["complete", "absent"])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 3.0)])
def test_avid_equals_loops(weights, present, partition):
    arrays = world()
    terms = weighted(groups(INDEX[:, None], arrays["positives"], None)[:2], weights)
    expected = naive(arrays, terms, present, partition)
    # Only directions count, and absent rows may hold anything.
    arrays |= {"video": 3 * arrays["video"], "audio": 0.2 * arrays["audio"]}
    arrays["video"][~present] = np.nan
    loss, constant, parts = run(
        avid_loss, arrays, present, partition, cross=weights[0], within=weights[1]
    )
    np.testing.assert_allclose((loss, constant), expected, rtol=1e-12)
    assert len(parts) == len(terms)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "weights", [(1.0, 0.0, 0.0, 1.0), (1.0, 2.0, 3.0, 4.0), (0.0, 1.0, 0.0, 0.5)]
)
@pytest.mark.parametrize("num_within", [5, None])
def test_cma_equals_loops(weights, num_within):
    arrays = world()
    terms = weighted(groups(INDEX[:, None], arrays["positives"], num_within), weights)
    loss, constant, parts = run(cma_loss, arrays, num_negatives_within=num_within, **named(weights))
    np.testing.assert_allclose((loss, constant), naive(arrays, terms, ALL, 0.0), rtol=1e-12)
    assert len(parts) == len(terms)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cross_instance", [0.0, 1.0])
def test_the_released_within_instance_group_is_empty_but_divides(cross_instance: float):
    """It computes the cross-modal scores, which set Z, under the cross-modal name and weight."""
    arrays, weights = world(), (cross_instance, 2.0, 0.0, 1.0)
    parts = groups(INDEX[:, None], arrays["positives"], 5)
    terms = [(cross_instance / sum(weights) / 2, *term) for term in parts[0]]
    terms += [(1.0 / sum(weights) / 2, *term) for term in parts[3]]
    settings = dict(num_negatives_within=5, **named(weights))
    released = run(cma_loss, arrays, released_within_instance=True, **settings)
    np.testing.assert_allclose(released[:2], naive(arrays, terms, ALL, 0.0), rtol=1e-12)
    assert not any(name.startswith("instance_video_to_video") for name in released[2])
    assert abs(run(cma_loss, arrays, **settings)[0] - released[0]) > 0.1


def named(weights) -> dict[str, float]:
    names = "cross_instance", "within_instance", "cross_positives", "within_positives"
    return dict(zip(names, weights, strict=True))


@pytest.mark.parametrize("function", [avid_loss, cma_loss])
def test_no_rows_and_zero_rows_are_finite(function):
    arrays = {
        name: value.astype(np.float32 if value.dtype == float else np.int32)
        for name, value in world().items()
    }
    loss, partition, _ = run(function, arrays, present=np.zeros(4, bool))
    assert loss == partition == 0.0
    arrays["video"][:] = 0.0
    loss, gradient = jax.value_and_grad(lambda v: run(function, arrays | {"video": v})[0])(
        jnp.asarray(arrays["video"])
    )
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -1.0), (2.0, -1.0)])
def test_weights_must_say_something(weights):
    with pytest.raises(ValueError, match="weights of AVID"):
        run(avid_loss, world(), cross=weights[0], within=weights[1])
