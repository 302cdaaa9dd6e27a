"""SeLaVi's solves against the released loop in numpy, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.sinkhorn import (
    empty_queue,
    gaussian_marginal,
    log_joint_posterior,
    match_popularity,
    online_sinkhorn,
    plan,
    push,
    sinkhorn,
    uniform_marginal,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
solve = jax.jit(sinkhorn, static_argnames=("sharpness", "max_steps", "tolerance"))
online = jax.jit(online_sinkhorn, static_argnames=("max_steps",))
PRESENT = np.arange(60) % 5 != 2


def logits_of(num: int = 60, num_clusters: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    video, audio = random.standard_normal((2, num, num_clusters)).astype(np.float32)
    return video, audio


def joint(seed: int = 0, **sizes) -> jax.Array:
    return log_joint_posterior(*map(jnp.asarray, logits_of(seed=seed, **sizes)))


def released(log_posterior, marginal, sharpness, max_steps=2000):
    powers = np.exp(np.asarray(log_posterior, np.float64) * 0.5 * sharpness)
    mass = 1.0 / len(powers)
    beta, error, number = np.full(len(powers), mass), 1e6, 0
    while error > 0.1 and number < max_steps:
        alpha = np.asarray(marginal, np.float64) / (powers.T @ beta)
        new = mass / (powers @ alpha)
        if number % 10 == 0:
            error = np.abs(beta / new - 1).sum()
        beta, number = new, number + 1
    return beta[:, None] * powers * alpha[None], number, error


MARGINALS = {"uniform": np.full(5, 0.2), "skewed": np.array([0.4, 0.3, 0.15, 0.1, 0.05])}


@pytest.mark.parametrize("sharpness", [5.0, 20.0])
@pytest.mark.parametrize("name", MARGINALS)
@pytest.mark.parametrize("max_steps", [2000, 7])
def test_equals_the_released_loop(name, sharpness, max_steps):
    marginal = MARGINALS[name].astype(np.float32)
    log_posterior = joint()
    expected, num_steps, error = released(log_posterior, marginal, sharpness, max_steps)
    found = solve(log_posterior, jnp.asarray(marginal), sharpness=sharpness, max_steps=max_steps)
    assert int(found["num_steps"]) == num_steps
    np.testing.assert_array_equal(found["labels"], expected.argmax(1))
    transported = plan(log_posterior, found, sharpness=sharpness)
    np.testing.assert_allclose(transported, expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(found["error"], error, atol=1e-3)
    own = np.take_along_axis(np.asarray(log_posterior), expected.argmax(1)[:, None], 1)
    np.testing.assert_allclose(found["cost"], -0.5 * own.mean(), rtol=1e-5)
    if max_steps > 7:
        np.testing.assert_allclose(transported.sum(0), marginal, atol=2e-3)


def test_ends_where_rounding_keeps_the_sum_of_all_rows_above_the_tolerance():
    """No sum is below 0: the labels are those of the usual tolerance, long before the last step."""
    log_posterior, marginal = joint(), jnp.asarray(MARGINALS["skewed"], jnp.float32)
    usual = solve(log_posterior, marginal)
    least = solve(log_posterior, marginal, tolerance=-1.0)
    assert usual["num_steps"] < least["num_steps"] < 1000
    assert least["error"] < 1e-4
    np.testing.assert_array_equal(usual["labels"], least["labels"])


@pytest.mark.slow
@pytest.mark.optimised
def test_above_a_million_rows_float32_has_the_labels_of_float64():
    random = np.random.default_rng(0)
    video, audio = 0.3 * random.standard_normal((2, 1_200_000, 4)) + [1.0, 0.3, 0.0, -0.5]
    labels, steps = [], []
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            posterior = log_joint_posterior(jnp.asarray(video, dtype), jnp.asarray(audio, dtype))
            found = solve(posterior, uniform_marginal(4).astype(dtype))
            labels.append(np.asarray(found["labels"]))
            steps.append(int(found["num_steps"]))
    assert steps[0] <= steps[1] < 100
    np.testing.assert_array_equal(*labels)


def test_absent_rows_may_hold_anything_and_have_no_mass():
    log_posterior, marginal = joint(), uniform_marginal(5)
    expected = solve(log_posterior[PRESENT], marginal)
    for filling in (np.nan, np.inf, 1e6):
        filled = jnp.where(jnp.asarray(PRESENT)[:, None], log_posterior, filling)
        found = solve(filled, marginal, present=jnp.asarray(PRESENT))
        assert found["num_steps"] == expected["num_steps"]
        np.testing.assert_array_equal(found["labels"][PRESENT], expected["labels"])
        np.testing.assert_array_equal(found["labels"][~PRESENT], -1)
        np.testing.assert_allclose(found["cost"], expected["cost"], rtol=1e-5)
        transported = plan(filled, found)
        np.testing.assert_array_equal(transported[~PRESENT], 0.0)
        np.testing.assert_allclose(transported[PRESENT].sum(1), 1 / PRESENT.sum(), rtol=1e-4)


def test_extremes_are_finite():
    marginal = uniform_marginal(5)
    nobody = solve(joint(), marginal, present=jnp.zeros(60, bool))
    assert nobody["cost"] == 0.0
    # Everything in one cluster with certainty, equal rows, a posterior of exactly 0, and one cluster.
    certain = jnp.full((60, 5), -1e4).at[:, 1].set(0.0)
    impossible = joint().at[3, 2].set(-jnp.inf)
    for log_posterior in (certain, jnp.full((60, 5), -np.log(5.0, dtype="f")), impossible):
        found = solve(log_posterior, marginal)
        assert np.isfinite(found["cost"])
        assert np.isfinite(found["error"])
        assert (found["labels"] >= 0).all()
    closed = solve(joint(), jnp.array([0.5, 0.0, 0.2, 0.2, 0.1]))
    assert (closed["labels"] != 1).all()
    assert np.isfinite(closed["cost"])
    np.testing.assert_array_equal(solve(joint(num_clusters=1), jnp.ones(1))["labels"], 0)


def test_float32_holds_what_powers_would_underflow():
    """Posteriors to the power 10 underflow float32 in every column; the logarithms do not."""
    video, audio = logits_of(seed=3)
    log_posterior = log_joint_posterior(jnp.asarray(9 * video), jnp.asarray(9 * audio))
    assert (np.exp(10.0 * np.asarray(log_posterior)) == 0).mean() > 0.5
    narrow = solve(log_posterior, uniform_marginal(5))
    with jax.enable_x64(True):
        wide = solve(jnp.asarray(np.asarray(log_posterior, np.float64)), uniform_marginal(5))
    np.testing.assert_array_equal(narrow["labels"], wide["labels"])
    assert int(narrow["num_steps"]) == int(wide["num_steps"])


def test_masses_follow_popularity():
    log_posterior = joint()
    popularity = np.exp(np.asarray(log_posterior)[PRESENT]).sum(0)
    draws = jnp.array([0.1, 0.4, 0.05, 0.3, 0.15])
    present = jnp.asarray(PRESENT)
    matched = match_popularity(draws, log_posterior, present=present)
    np.testing.assert_array_equal(np.argsort(matched), np.argsort(popularity))
    np.testing.assert_array_equal(np.sort(matched), np.sort(draws))
    permuted = match_popularity(draws, log_posterior, present=present, released=True)
    np.testing.assert_array_equal(permuted[np.argsort(popularity)], draws)
    again = match_popularity(permuted, log_posterior, present=present, released=True)
    assert (np.asarray(again) != np.asarray(permuted)).any()
    np.testing.assert_array_equal(
        match_popularity(matched, log_posterior, present=present), matched
    )


def test_gaussian_marginals_are_positive_and_differ():
    masses = jax.vmap(partial(gaussian_marginal, num_clusters=400))(
        jax.random.split(jax.random.key(0), 8)
    )
    np.testing.assert_allclose(masses.sum(1), 1.0, rtol=1e-5)
    spread = (1.0 / masses / (1.0 / masses).mean(1, keepdims=True)).std()
    np.testing.assert_allclose(spread, 0.1, rtol=0.05)
    wild = gaussian_marginal(jax.random.key(0), 400, spread=3.0)
    assert (wild > 0.0).all()


def test_sizes_as_drawn_are_the_inverse_of_the_released_masses():
    key = jax.random.key(0)
    released, drawn = (gaussian_marginal(key, 9, spread=0.5, as_drawn=one) for one in (False, True))
    np.testing.assert_allclose(drawn, (1.0 / released) / (1.0 / released).sum(), rtol=1e-5)
    assert np.ptp(drawn) < np.ptp(released)


def test_queue_keeps_the_newest_rows():
    queue = empty_queue(5, 2)
    for number in (1, 2, 3):
        rows = jnp.full((2, 2), float(number)).at[1].set(jnp.nan)
        queue = push(queue, rows, present=jnp.array([True, False]))
    np.testing.assert_array_equal(queue["present"], [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(queue["log_posterior"][:, 0], [3, 0, 2, 0, 1])
    long = push(queue, jnp.ones((7, 2)), present=jnp.ones(7, bool))
    assert long["present"].shape == (5,)


def test_online_solve_is_one_over_batch_and_queue():
    log_posterior, marginal = joint(), jnp.asarray(MARGINALS["skewed"], jnp.float32)
    batch, older = log_posterior[:12], log_posterior[12:]
    queue = push(empty_queue(64, 5), older, present=jnp.ones(48, bool))
    present = jnp.arange(12) != 4
    soft, labels = online(batch, queue, marginal, present=present, max_steps=2000)
    everyone = jnp.concatenate([present, jnp.ones(48, bool)])
    whole = solve(log_posterior, marginal, present=everyone)
    np.testing.assert_array_equal(labels, whole["labels"][:12])
    shares = np.asarray(plan(log_posterior, whole)[:12]) * 59
    np.testing.assert_allclose(soft, shares, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(soft[4], 0.0)
    gradient = jax.grad(lambda rows: online(rows, queue, marginal, present=present)[0][0, 0])(batch)
    np.testing.assert_array_equal(gradient, 0.0)


def test_online_solve_with_an_empty_queue():
    batch = joint()[:12]
    soft, labels = online(batch, empty_queue(8, 5), uniform_marginal(5), present=jnp.ones(12, bool))
    np.testing.assert_allclose(soft.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(labels, np.argmax(soft, axis=1))
    nobody = online(batch, empty_queue(8, 5), uniform_marginal(5), present=jnp.zeros(12, bool))
    np.testing.assert_array_equal(nobody[0], 0.0)
