import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.correspondence import correspondence_loss, distance_logits

pytestmark = pytest.mark.usefixtures("strict_dtypes")
CORRESPONDS = np.array([1, 0, 1, 1, 0, 0], bool)


def logits_of(scale: float = 3.0) -> np.ndarray:
    return scale * np.random.default_rng(0).standard_normal((6, 2))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("present", [np.ones(6, bool), np.array([1, 0, 0, 1, 1, 0], bool)])
def test_equals_softmax_cross_entropy(present):
    logits = logits_of()
    loss, metrics = jax.jit(correspondence_loss)(
        jnp.asarray(logits), jnp.asarray(CORRESPONDS), present=jnp.asarray(present)
    )
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    chosen = probability[np.arange(6), CORRESPONDS.astype(int)]
    np.testing.assert_allclose(loss, -np.log(chosen)[present].mean(), rtol=1e-12)
    np.testing.assert_allclose(metrics["accuracy"], (chosen > 0.5)[present].mean())
    assert int(metrics["num_pairs"]) == present.sum()


def test_absent_pairs_and_extreme_logits_are_finite():
    logits = jnp.asarray(logits_of(), jnp.float32).at[0].set(jnp.nan).at[1].set(1e4)
    present = jnp.asarray([False, True, True, True, True, True])

    def loss_of(logits, present):
        return correspondence_loss(logits, jnp.asarray(CORRESPONDS), present=present)[0]

    gradient_of = jax.jit(jax.value_and_grad(loss_of))
    loss, gradient = gradient_of(logits, present)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], 0.0)
    loss, gradient = gradient_of(logits, jnp.zeros(6, bool))
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_a_tie_is_no_success():
    _, metrics = correspondence_loss(
        jnp.zeros((6, 2)), jnp.asarray(CORRESPONDS), present=jnp.ones(6, bool)
    )
    assert metrics["accuracy"] == 0.0


def test_bf16_is_computed_in_float32():
    logits = jnp.asarray(logits_of(), jnp.bfloat16)
    loss, _ = correspondence_loss(logits, jnp.asarray(CORRESPONDS), present=jnp.ones(6, bool))
    assert loss.dtype == jnp.float32


def test_distance_logits():
    random = np.random.default_rng(1)
    video, audio = random.standard_normal((2, 4, 7)).astype(np.float32)
    weight, bias = jnp.asarray([1.5, -1.5]), jnp.asarray([-2.0, 2.0])
    logits, distance = jax.jit(distance_logits)(
        jnp.asarray(video), jnp.asarray(audio), weight=weight, bias=bias
    )
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (video, audio)]
    expected = np.linalg.norm(unit[0] - unit[1], axis=1)
    np.testing.assert_allclose(distance, expected, rtol=1e-5)
    np.testing.assert_allclose(
        logits, expected[:, None] * np.array([1.5, -1.5]) + np.array([-2.0, 2.0]), rtol=1e-4
    )


def test_equal_embeddings_have_distance_zero_and_gradient_zero():
    # Of length exactly 1, so that the distance is exactly 0.
    video = jnp.eye(3, 4)

    def total(audio):
        one = jnp.ones(2)
        return distance_logits(video, audio, weight=one, bias=one)[1].sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(video)
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
