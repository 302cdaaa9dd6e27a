"""NCE with a frozen Z against loops in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses import nce

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 0, 1, 1, 0, 1], bool)
ALL = np.ones(6, bool)
nce_loss = jax.jit(nce.nce_loss)
frozen_partition = jax.jit(nce.frozen_partition)


def logits(num_positives: int = 3, num_negatives: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((6, num_positives)), random.standard_normal((6, num_negatives))


def naive(positive, negative, partition, present):
    constant = negative.shape[1] * partition
    rows = []
    for i in np.flatnonzero(present):
        found = [np.log(np.exp(s) / (np.exp(s) + constant)) for s in positive[i]]
        refused = [np.log(constant / (np.exp(s) + constant)) for s in negative[i]]
        rows.append(-np.mean(found) - np.sum(refused))
    return np.mean(rows)


def loss_of(positive, negative, partition=1.7, present=ALL):
    positive, negative = jnp.asarray(positive), jnp.asarray(negative)
    partition = jnp.asarray(partition, negative.dtype)
    return nce_loss(positive, negative, partition=partition, present=jnp.asarray(present))


def partition_of(negative, stored=0.0, present=ALL):
    negative = jnp.asarray(negative)
    stored = jnp.asarray(stored, negative.dtype)
    return frozen_partition(stored, negative, present=jnp.asarray(present))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("present", [ALL, PRESENT], ids=["complete", "absent"])
@pytest.mark.parametrize("num_positives", [1, 3])
def test_equals_loops(num_positives: int, present: np.ndarray):
    positive, negative = logits(num_positives)
    loss = loss_of(positive, negative, present=present)
    np.testing.assert_allclose(loss, naive(positive, negative, 1.7, present), rtol=1e-12)
    expected = np.mean(np.exp(negative[present]))
    np.testing.assert_allclose(partition_of(negative, present=present), expected, rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_a_stored_partition_stays():
    negative = logits()[1]
    first = partition_of(negative)
    np.testing.assert_array_equal(partition_of(negative * 2, first), first)
    assert partition_of(negative * 2) != first
    np.testing.assert_array_equal(partition_of(negative, -1.0), first)  # official: unset


@pytest.mark.usefixtures("float64")
def test_gradient_is_that_of_a_constant_partition():
    positive, negative = logits()

    def loss(positive, negative):
        partition = nce.frozen_partition(jnp.zeros(()), negative, present=jnp.asarray(PRESENT))
        return loss_of(positive, negative, partition, PRESENT)

    gradients = jax.grad(loss, (0, 1))(jnp.asarray(positive), jnp.asarray(negative))
    constant, step = float(partition_of(negative, present=PRESENT)), 1e-6
    for which, (row, column) in ((0, (0, 1)), (0, (3, 2)), (1, (2, 0)), (1, (5, 4))):
        moved = [[positive.copy(), negative.copy()] for _ in range(2)]
        moved[0][which][row, column] += step
        moved[1][which][row, column] -= step
        up, down = (naive(*arrays, constant, PRESENT) for arrays in moved)
        np.testing.assert_allclose(
            gradients[which][row, column], (up - down) / (2 * step), atol=1e-8
        )
    assert jax.grad(lambda z: loss_of(positive, negative, z))(jnp.asarray(1.7)) == 0.0


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("filling", [np.nan, np.inf, 1e6])
def test_absent_rows_may_hold_anything(filling: float):
    def result(positive, negative):
        def loss(positive, negative):
            partition = nce.frozen_partition(jnp.zeros(()), negative, present=jnp.asarray(PRESENT))
            return loss_of(positive, negative, partition, PRESENT)

        arrays = jnp.asarray(positive), jnp.asarray(negative)
        return jax.value_and_grad(loss, (0, 1))(*arrays)

    positive, negative = logits()
    expected = result(positive, negative)
    np.testing.assert_array_equal(expected[1][1][~PRESENT], 0.0)
    positive[~PRESENT] = negative[~PRESENT] = filling
    jax.tree.map(np.testing.assert_array_equal, result(positive, negative), expected)


def test_without_rows_the_loss_is_zero_and_the_partition_waits():
    positive, negative = (x.astype(np.float32) for x in logits())
    nobody = np.zeros(6, bool)
    partition = partition_of(negative, present=nobody)
    assert partition == 0.0
    loss, gradient = jax.value_and_grad(lambda n: loss_of(positive, n, partition, nobody))(
        jnp.asarray(negative)
    )
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
    np.testing.assert_array_equal(partition_of(negative, partition), partition_of(negative))


def test_without_negatives_the_loss_is_zero_and_the_partition_waits():
    positive, negative = (x.astype(np.float32) for x in logits(num_negatives=0))
    assert partition_of(negative) == 0.0
    loss, gradient = jax.value_and_grad(lambda p: loss_of(p, negative, 0.0))(jnp.asarray(positive))
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_no_positive_is_refused():
    with pytest.raises(ValueError, match="at least one positive"):
        loss_of(*logits(num_positives=0))


@pytest.mark.parametrize("size", [-1000.0, 1000.0])
def test_extreme_logits_stay_finite(size: float):
    positive, negative = (np.full((6, n), size, np.float32) for n in (2, 4))
    partition = partition_of(negative)
    assert 0.0 < partition < np.inf
    loss, gradients = jax.value_and_grad(lambda *x: loss_of(*x, partition), argnums=(0, 1))(
        jnp.asarray(positive), jnp.asarray(negative)
    )
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_bf16_is_computed_in_float32():
    positive, negative = (jnp.asarray(x, jnp.bfloat16) for x in logits())
    present = jnp.asarray(ALL)
    partition = frozen_partition(jnp.zeros((), jnp.float32), negative, present=present)
    loss = nce_loss(positive, negative, partition=partition, present=present)
    assert partition.dtype == loss.dtype == jnp.float32
    wide = loss_of(positive.astype(jnp.float32), negative.astype(jnp.float32), partition)
    np.testing.assert_array_equal(loss, wide)
