"""The gated units, the sentence vector and the reconstruction against the formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models.gated import GatedEmbedding, GatedProjection, WordMaxPool
from avssl.models.reconstruction import Reconstruction


def linear(x, layer):
    return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def gated(x, params):
    x = linear(x, params["linear"])
    return x / (1 + np.exp(-linear(x, params["gate"])))


def built(module, *inputs, **options):
    """Drawn parameters, biases among them, and the output."""
    shapes = jax.eval_shape(lambda *x: module.init(jax.random.key(0), *x, **options), *inputs)
    random = np.random.default_rng(1)
    variables = jax.tree.map(lambda s: random.standard_normal(s.shape).astype(s.dtype), shapes)
    return variables["params"], jax.jit(lambda v, *x: module.apply(v, *x, **options))(
        variables, *inputs
    )


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_gated_units():
    x = draw(4, 5)
    params, y = built(GatedEmbedding(3), x)
    np.testing.assert_allclose(y, gated(x, params), rtol=1e-4, atol=1e-6)
    params, y = built(GatedProjection(3, 6), x)
    expected = linear(gated(x, params["gated"]), params["projection"])
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_a_sentence_is_the_maximum_over_its_words():
    words = draw(2, 4, 5)
    params, y = built(WordMaxPool(3), words)
    expected = np.maximum(linear(words, params["linear"]), 0).max(axis=1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_reconstruction_error_of_each_row_and_its_gradient_to_the_target():
    embedding, target = draw(4, 6), np.abs(draw(4, 3))
    params, error = built(Reconstruction(5), embedding, target, train=True)
    hidden = np.maximum(linear(embedding, params["mlp"]["linear1"]), 0)
    difference = np.maximum(linear(hidden, params["mlp"]["linear2"]), 0) - target
    np.testing.assert_allclose(error, (difference**2).mean(axis=1), rtol=1e-5)
    gradient = jax.grad(
        lambda e, t: Reconstruction(5).apply({"params": params}, e, t, train=True).sum(), 1
    )(jnp.asarray(embedding), jnp.asarray(target))
    np.testing.assert_allclose(gradient, -2 * difference / 3, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("dtype", "held"), [("float32", "float32"), ("bfloat16", "float32"), ("float64", "float64")]
)
def test_parameters_are_held_wide_and_errors_are_taken_wide(dtype, held):
    x, words = jnp.zeros((2, 5), dtype), jnp.zeros((2, 4, 5), dtype)
    modules = (GatedEmbedding, GatedProjection, WordMaxPool)
    for module, inputs in zip(modules, (x, x, words), strict=True):
        y, variables = jax.eval_shape(
            lambda x, module=module: module(features=3, dtype=dtype).init_with_output(
                jax.random.key(0), x
            ),
            inputs,
        )
        assert y.dtype == dtype
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
    error, _ = jax.eval_shape(
        lambda x: Reconstruction(4, dtype=dtype).init_with_output(
            jax.random.key(0), x, x, train=True
        ),
        x,
    )
    assert error.dtype == held
