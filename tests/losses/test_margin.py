"""The margin loss of pairs against loops in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.margin import margin_loss

pytestmark = pytest.mark.usefixtures("strict_dtypes")
TOGETHER = np.array([1, 0, 1, 0, 0, 1, 0, 0], bool)
PRESENT = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)

loss_of = jax.jit(margin_loss, static_argnames=("margin", "normalise"))


def embeddings(dim: int = 5, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    video, noise = np.random.default_rng(0).standard_normal((2, 8, dim))
    return video, video + spread * noise


def naive(video, audio, margin, present, weights, normalise=False):
    """(loss, share of negatives within the margin, mean distance of positives, of negatives)."""
    total, distances = 0.0, {True: [], False: []}
    for n in np.flatnonzero(present):
        first, second = video[n], audio[n]
        if normalise:
            first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
        distance = np.linalg.norm(first - second)
        distances[bool(TOGETHER[n])].append(distance)
        total += weights[n] * (distance**2 if TOGETHER[n] else max(margin - distance, 0) ** 2)
    active = np.mean(np.array(distances[False]) < margin)
    means = np.mean(distances[True]), np.mean(distances[False])
    return total / weights[present].sum(), active, *means


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("present", [np.ones(8, bool), PRESENT], ids=["all", "absent"])
@pytest.mark.parametrize("weights", [None, np.linspace(0.2, 3, 8)], ids=["plain", "weighted"])
def test_equals_loops(normalise, present, weights):
    video, audio = embeddings(spread=0.7)
    loss, metrics = loss_of(
        *(jnp.asarray(x) for x in (video, audio, TOGETHER)),
        margin=1.1,
        normalise=normalise,
        present=present,
        weights=weights,
    )
    plain = np.ones(8) if weights is None else weights
    expected, active, positive, negative = naive(video, audio, 1.1, present, plain, normalise)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(metrics["active_negatives"], active)
    np.testing.assert_allclose(metrics["positive_distance"], positive)
    np.testing.assert_allclose(metrics["negative_distance"], negative)
    assert int(metrics["num_positives"]) == (present & TOGETHER).sum()
    assert int(metrics["num_negatives"]) == (present & ~TOGETHER).sum()


@pytest.mark.usefixtures("float64")
def test_gradient_equals_differences_of_the_loops():
    video, audio = embeddings()
    weights = np.linspace(0.2, 3, 8)

    def loss(video):
        return loss_of(
            video, jnp.asarray(audio), jnp.asarray(TOGETHER), present=PRESENT, weights=weights
        )[0]

    gradient = jax.grad(loss)(jnp.asarray(video))
    step = 1e-6
    for row, column in np.ndindex(8, 5):
        values = []
        for sign in (1, -1):
            moved = video.copy()
            moved[row, column] += sign * step
            values.append(naive(moved, audio, 0.99, PRESENT, weights)[0])
        difference = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(gradient[row, column], difference, atol=1e-8)
    assert (np.abs(gradient[PRESENT & TOGETHER]).max(axis=1) > 0).all()
    np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


gradient_of = jax.jit(
    jax.value_and_grad(
        lambda video, audio, present, normalise: margin_loss(
            video, audio, jnp.asarray(TOGETHER), normalise=normalise, present=present
        )[0]
    ),
    static_argnums=3,
)


@pytest.mark.parametrize("normalise", [False, True])
def test_distance_zero_has_gradient_zero(normalise):
    video = np.eye(8, 9, dtype=np.float32)
    loss, gradient = gradient_of(video, video, np.ones(8, bool), normalise)
    np.testing.assert_allclose(loss, 0.99**2 * 5 / 8, rtol=1e-6)
    np.testing.assert_array_equal(gradient, 0.0)


def test_negatives_near_zero_are_pushed_with_full_force():
    video = np.eye(8, 9, dtype=np.float32)
    audio = video.copy()
    audio[:, 8] = 1e-10
    _, gradient = gradient_of(video, audio, np.ones(8, bool), False)
    force = np.linalg.norm(gradient[~TOGETHER], axis=1)
    np.testing.assert_allclose(force, 2 * 0.99 / 8, rtol=1e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_absent_pairs_may_hold_anything(normalise):
    video, audio = (x.astype(np.float32) for x in embeddings())
    expected = gradient_of(video, audio, PRESENT, normalise)
    assert np.isfinite(expected[0])
    for filling in (np.nan, np.inf, 0.0, 1e6):
        other = np.where(PRESENT[:, None], video, np.float32(filling))
        result = gradient_of(other, audio, PRESENT, normalise)
        jax.tree.map(np.testing.assert_array_equal, result, expected)


def test_no_pairs_give_zero():
    video, audio = (jnp.asarray(x, jnp.float32) for x in embeddings())
    for options in (
        {"present": np.zeros(8, bool)},
        {"present": PRESENT, "weights": np.zeros(8, np.float32)},
    ):
        loss, metrics = loss_of(video, audio, jnp.asarray(TOGETHER), **options)
        assert loss == 0.0
        assert all(np.isfinite(value) for value in metrics.values())


def test_beyond_the_margin_only_positives_teach():
    video, audio = (x.astype(np.float32) for x in embeddings())
    _, gradient = gradient_of(video, audio + np.float32(10), np.ones(8, bool), False)
    np.testing.assert_array_equal(gradient[~TOGETHER], 0.0)
    assert (np.abs(gradient[TOGETHER]) > 0).all()


def test_bf16_is_computed_in_float32():
    video, audio = (jnp.asarray(x, jnp.bfloat16) for x in embeddings(dim=64))
    together = jnp.asarray(TOGETHER)
    loss, metrics = loss_of(video, audio, together, present=PRESENT)
    assert loss.dtype == jnp.float32
    assert all(metric.dtype == jnp.float32 for metric in metrics.values())
    wide = loss_of(video.astype(jnp.float32), audio.astype(jnp.float32), together, present=PRESENT)[
        0
    ]
    np.testing.assert_array_equal(loss, wide)
