"""Distributions over neighbours by kernels against loops in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.kernel_transfer import (
    KERNELS,
    information_flow,
    neighbour_log_probabilities,
    probabilistic_transfer,
)
from avssl.losses.relations import compared_sides, numbered_sides

pytestmark = pytest.mark.usefixtures("strict_dtypes")
PRESENT = np.array([1, 1, 0, 1, 1], bool)
ROWS = np.flatnonzero(PRESENT)


def features() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((5, 4)), random.standard_normal((5, 7))


def naive_probabilities(rows, kernel, width=1.0):
    """[row, row] among the rows that are present."""
    apart = np.array(
        [[np.sqrt(((rows[i] - rows[j]) ** 2).sum() + 1e-6) for j in ROWS] for i in ROWS]
    )
    values = np.zeros_like(apart)
    for place, d in np.ndenumerate(apart):
        x, y = (rows[ROWS[p]] for p in place)
        match kernel:
            case "cosine":
                values[place] = (x @ y / np.linalg.norm(x) / np.linalg.norm(y) + 1) / 2
            case "student_t":
                values[place] = 1 / (1 + d)
            case "cauchy":
                values[place] = 1 / (1 + d**2 / width**2)
            case "rbf":
                values[place] = np.exp(-d / width)
            case "adaptive_rbf":
                values[place] = np.exp(-d / apart.mean())
    return values / values.sum(axis=1, keepdims=True)


def compute(loss, student, teacher, **options):
    """Compiled once for all its operations: one by one they take longer."""
    arrays = jnp.asarray(student), jnp.asarray(teacher)
    return jax.jit(partial(loss, present=jnp.asarray(PRESENT), **options))(*arrays)


@pytest.mark.usefixtures("float64")
def test_probabilistic_transfer_equals_loops():
    student, teacher = features()
    p, q = (naive_probabilities(rows, "cosine") for rows in (teacher, student))
    expected = np.mean(p * np.log((p + 1e-7) / (q + 1e-7)))
    loss = compute(probabilistic_transfer, student, teacher)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernel", KERNELS)
def test_information_flow_equals_loops(kernel):
    student, teacher = features()
    width = 1.7
    p, q = (naive_probabilities(rows, kernel, width) for rows in (teacher, student))
    flow = {"kernels": (kernel,), "width": width}
    loss = compute(information_flow, student, teacher, **flow)
    np.testing.assert_allclose(loss, np.mean((p - q) * np.log(p / q)), rtol=1e-10)
    loss = compute(information_flow, student, teacher, divergence="kl", **flow)
    np.testing.assert_allclose(loss, np.mean(p * np.log(1e-6 + p / (1e-6 + q))), rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_kernels_add_up():
    student, teacher = features()
    single = [compute(information_flow, student, teacher, kernels=(k,)) for k in KERNELS]
    together = compute(information_flow, student, teacher, kernels=KERNELS)
    np.testing.assert_allclose(together, sum(single), rtol=1e-12)
    default = compute(information_flow, student, teacher)
    np.testing.assert_allclose(default, single[0] + single[1], rtol=1e-12)


@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if kernel != "adaptive_rbf"])
def test_distributions_sum_to_one_and_absent_rows_have_none(kernel):
    student, teacher = (jnp.asarray(rows, jnp.float32) for rows in features())
    present = jnp.asarray(PRESENT)
    sides = compared_sides(student, teacher, present)
    log = jax.jit(neighbour_log_probabilities, static_argnames=("side", "kernel"))(
        numbered_sides(sides, present), "student", sides, kernel, present=present
    )
    probability = np.exp(log)
    np.testing.assert_allclose(probability[np.ix_(PRESENT, PRESENT)].sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(log[~PRESENT], 0.0)
    np.testing.assert_array_equal(log[:, ~PRESENT], 0.0)
    # Each row is its own nearest neighbour.
    np.testing.assert_array_equal(np.argmax(probability[PRESENT][:, PRESENT], axis=1), range(4))


def test_opposite_and_far_rows_are_finite():
    """Their kernels are 0, or round to it; the released losses are infinite or no numbers."""
    opposite = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1]], np.float32)
    teacher = features()[1].astype(np.float32)
    present = jnp.asarray(PRESENT)
    for student, kernel in ((opposite, "cosine"), (1e4 * opposite, "rbf")):
        flow = jax.jit(
            jax.value_and_grad(partial(information_flow, kernels=(kernel,), present=present))
        )
        for pair in ((student, teacher[:, :2]), (teacher[:, :2], student)):
            loss, gradient = flow(*map(jnp.asarray, pair))
            assert 0.0 < loss < np.inf
            assert np.isfinite(gradient).all()


@pytest.mark.usefixtures("float64")
def test_the_adaptive_width_has_no_gradient():
    student = jnp.asarray(features()[0])
    # In another order, so that both sides have one mean distance.
    teacher, everyone = student[::-1], jnp.ones(5, bool)
    mean = np.mean(np.sqrt(((student[:, None] - student[None]) ** 2).sum(axis=2) + 1e-6))

    def flow(kernel, width=1.0):
        loss = partial(information_flow, kernels=(kernel,), width=width, present=everyone)
        return jax.jit(jax.value_and_grad(loss))(student, teacher)

    adaptive, fixed = flow("adaptive_rbf"), flow("rbf", float(mean))
    assert np.abs(fixed[1]).max() > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), adaptive, fixed)


def test_unknown_names_are_refused():
    student, teacher = features()
    with pytest.raises(ValueError, match="kernel is one of cosine"):
        compute(information_flow, student, teacher, kernels=("gaussian",))
    with pytest.raises(ValueError, match="at least one kernel"):
        compute(information_flow, student, teacher, kernels=())
    with pytest.raises(ValueError, match="divergence is one of jeffreys"):
        compute(information_flow, student, teacher, divergence="js")
