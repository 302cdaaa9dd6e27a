"""The additive angular margin against arc cosines in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.angular_margin import additive_angular_margin

pytestmark = pytest.mark.usefixtures("strict_dtypes")
LABELS = np.array([2, 0, -1, 1, 2, 0], np.int32)
PRESENT = np.array([1, 1, 1, 0, 1, 1], bool)
COUNTED = PRESENT & (LABELS >= 0)
MARGIN, SCALE = 0.3, 10.0

loss_of = jax.jit(additive_angular_margin)


def cosines(dtype=np.float64) -> np.ndarray:
    random = np.random.default_rng(0)
    cosine = random.uniform(-1, 1, (6, 3))
    # An own angle from which the margin would lead back.
    cosine[4, 2] = np.cos(np.pi - MARGIN / 2)
    return cosine.astype(dtype)


def naive(cosine):
    losses = []
    for i in np.flatnonzero(COUNTED):
        angle = np.arccos(cosine[i])
        logits = SCALE * cosine[i]
        own = LABELS[i]
        if angle[own] + MARGIN < np.pi:
            logits[own] = SCALE * np.cos(angle[own] + MARGIN)
        else:
            logits[own] = SCALE * (cosine[i, own] - MARGIN * np.sin(MARGIN))
        losses.append(np.log(np.exp(logits).sum()) - logits[own])
    return np.mean(losses)


@pytest.mark.usefixtures("float64")
def test_equals_loops_whatever_absent_rows_hold():
    cosine = cosines()
    for value in (np.nan, np.inf):
        filled = jnp.asarray(np.where(PRESENT[:, None], cosine, value))
        loss, metrics = loss_of(
            filled, jnp.asarray(LABELS), margin=MARGIN, scale=SCALE, present=jnp.asarray(PRESENT)
        )
        np.testing.assert_allclose(loss, naive(cosine), rtol=1e-10)
        hits = (cosine.argmax(axis=1) == LABELS)[COUNTED]
        np.testing.assert_allclose(metrics["accuracy"], hits.mean())
        assert int(metrics["num_rows"]) == COUNTED.sum()


@pytest.mark.usefixtures("float64")
def test_gradient_equals_differences():
    cosine, labels = cosines(), jnp.asarray(LABELS)

    def loss(cosine):
        options = {"margin": MARGIN, "scale": SCALE, "present": jnp.asarray(PRESENT)}
        return additive_angular_margin(cosine, labels, **options)[0]

    gradient = jax.jit(jax.grad(loss))(jnp.asarray(cosine))
    step = 1e-6
    for row, column in ((0, 2), (0, 0), (4, 2), (5, 1)):
        moved = [cosine.copy(), cosine.copy()]
        moved[0][row, column] += step
        moved[1][row, column] -= step
        difference = (naive(moved[0]) - naive(moved[1])) / (2 * step)
        np.testing.assert_allclose(gradient[row, column], difference, atol=1e-8)
    np.testing.assert_array_equal(gradient[~COUNTED], 0.0)


def test_without_margin_it_is_cross_entropy_and_a_margin_only_costs():
    cosine, labels, present = jnp.asarray(cosines(np.float32)), jnp.asarray(LABELS), PRESENT
    margins = [0.0, 0.1, 0.2, 0.3]
    losses = [loss_of(cosine, labels, margin=m, scale=SCALE, present=present)[0] for m in margins]
    logits = SCALE * cosines()[COUNTED]
    own = logits[np.arange(len(logits)), LABELS[COUNTED]]
    expected = (np.log(np.exp(logits).sum(axis=1)) - own).mean()
    np.testing.assert_allclose(losses[0], expected, rtol=1e-5)
    assert np.all(np.diff(losses) > 0.0)


def test_angles_of_exactly_zero_and_pi_are_finite():
    """The last cosine is beyond 1 by rounding."""
    own = jnp.asarray([1.0, -1.0, 1.0 + 1e-6], jnp.float32)
    labels = jnp.zeros(3, jnp.int32)

    @jax.jit
    @jax.value_and_grad
    def compute(own, present):
        cosine = jnp.pad(own[:, None], ((0, 0), (0, 1)))
        options = {"margin": MARGIN, "scale": SCALE, "present": present}
        return additive_angular_margin(cosine, labels, **options)[0]

    value, gradient = compute(own, jnp.ones(3, bool))
    near = np.log1p(np.exp(-SCALE * np.cos(MARGIN)))
    far = np.log1p(np.exp(SCALE * (1 + MARGIN * np.sin(MARGIN))))
    np.testing.assert_allclose(value, (2 * near + far) / 3, rtol=1e-5)
    of_near = -SCALE * np.cos(MARGIN) * (1 - np.exp(-near)) / 3
    of_far = -SCALE * (1 - np.exp(-far)) / 3
    np.testing.assert_allclose(gradient, [of_near, of_far, of_near], rtol=1e-4, atol=1e-6)
    assert compute(own, jnp.zeros(3, bool))[0] == 0.0
