import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.sound_codes import binary_code_loss, fit_scales, principal_components

GROUPS = (3, 1, 4)
PRESENT = np.array([True, False] + 10 * [True])


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def features():
    """Groups of very different size; an absent row holds rubbish."""
    made = 5.0 + drawn(12, 8) * np.repeat([100.0, 1.0, 0.01], GROUPS) * np.arange(1, 9)
    made[~PRESENT] = np.nan
    return made


@pytest.mark.usefixtures("float64")
def test_no_group_dominates_and_columns_keep_their_proportions():
    x = features()
    mean, scale = jax.jit(fit_scales, static_argnums=1)(
        jnp.asarray(x), GROUPS, present=jnp.asarray(PRESENT)
    )
    np.testing.assert_allclose(mean, x[PRESENT].mean(axis=0), rtol=1e-12)
    variance = ((x[PRESENT] - np.asarray(mean)) * np.asarray(scale)).var(axis=0)
    starts = np.cumsum((0, *GROUPS[:-1]))
    np.testing.assert_allclose(np.add.reduceat(variance, starts), 1.0, rtol=1e-12)
    for start, size in zip(starts, GROUPS, strict=True):
        assert len(set(np.asarray(scale)[start : start + size].tolist())) == 1


def test_a_constant_group_and_no_rows_have_scale_0():
    x = features().astype(np.float32)
    x[:, 3] = 0.1
    scale = fit_scales(jnp.asarray(x), GROUPS, present=jnp.asarray(PRESENT))[1]
    assert (np.asarray(scale) == 0).tolist() == [False] * 3 + [True] + [False] * 4
    mean, scale = fit_scales(jnp.asarray(x), GROUPS, present=jnp.zeros(12, bool))
    assert not np.any(mean)
    assert not np.any(scale)


@pytest.mark.usefixtures("float64")
def test_components_are_those_of_a_singular_value_decomposition():
    x = drawn(12, 6) * np.arange(6, 0, -1)
    x -= x[PRESENT].mean(axis=0)
    x[~PRESENT] = np.nan
    basis = np.asarray(
        jax.jit(principal_components, static_argnums=1)(
            jnp.asarray(x), 3, present=jnp.asarray(PRESENT)
        )
    )
    expected = np.linalg.svd(x[PRESENT])[2][:3].T
    np.testing.assert_allclose(np.abs(np.sum(basis * expected, axis=0)), 1.0, rtol=1e-9)
    assert (basis[np.abs(basis).argmax(axis=0), np.arange(3)] > 0).all()


@pytest.mark.usefixtures("float64")
def test_bits_equal_the_formula():
    logits, bits = drawn(12, 5), drawn(12, 5, seed=1) > 0
    logits[~PRESENT] = np.nan
    loss, metrics = jax.jit(binary_code_loss)(
        jnp.asarray(logits), jnp.asarray(bits), present=jnp.asarray(PRESENT)
    )
    share = 1 / (1 + np.exp(-logits[PRESENT]))
    each = np.where(bits[PRESENT], np.log(share), np.log(1 - share))
    np.testing.assert_allclose(loss, -each.sum(axis=1).mean(), rtol=1e-12)
    right = (logits[PRESENT] > 0) == bits[PRESENT]
    np.testing.assert_allclose(metrics["bit_accuracy"], right.mean(), rtol=1e-12)
    gradient = jax.grad(
        lambda x: binary_code_loss(x, jnp.asarray(bits), present=jnp.asarray(PRESENT))[0]
    )(jnp.asarray(logits))
    assert np.isfinite(gradient).all()
    assert not np.any(gradient[~PRESENT])
    extreme = jnp.asarray([[800.0, -800.0]])
    wrong, right = (
        binary_code_loss(extreme, jnp.asarray([bit]), present=jnp.ones(1, bool))[0]
        for bit in ([False, True], [True, False])
    )
    assert wrong == 1600.0
    assert right == 0.0
