from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.models.set_transformer import SetTransformer

ROWS = jnp.arange(5, dtype=jnp.int32)
X = jax.random.normal(jax.random.key(0), (5, 4, 8))
HEADS = {"single": 1, "multi": 2}


def variables_of(module: SetTransformer):
    """Drawn: compiling an initialiser takes seconds."""
    abstract = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), X)
    random = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: 0.3 * random.normal(size=leaf.shape).astype("f"), abstract)


@lru_cache
def compiled(module: SetTransformer, train: bool):
    variables = variables_of(module)

    def forward(x, rows, seed):
        rngs = {"draw": jax.random.key(seed)}
        return module.apply(variables, x, train=train, rows=rows, rngs=rngs)

    return jax.jit(forward)


def apply(module: SetTransformer, x, rows=None, seed=0):
    return np.asarray(compiled(module, rows is not None)(x, rows, seed))


@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_viewpoints_have_no_order_but_see_each_other(heads):
    module = SetTransformer(num_heads=heads)
    y = apply(module, X)
    assert y.shape == X.shape
    assert (y >= 0).all()
    assert (y == 0).any(), "a ReLU after the last layer too"
    np.testing.assert_allclose(apply(module, X[:, ::-1]), y[:, ::-1], atol=1e-5)
    moved = apply(module, X.at[:, 0].add(1.0))
    assert np.abs(moved[:, 1:] - y[:, 1:]).max() > 1e-3
    other_clip = apply(module, X.at[0].add(1.0))
    np.testing.assert_allclose(other_clip[1:], y[1:], atol=1e-6)


@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_dropout_depends_on_the_row_alone(heads):
    module = SetTransformer(depth=1, num_heads=heads, dropout=0.5)
    whole = apply(module, X, ROWS)
    order = jnp.array([3, 1, 1, 4, 0])
    np.testing.assert_allclose(apply(module, X[order], ROWS[order]), whole[order], atol=1e-5)
    assert np.abs(apply(module, X, ROWS, seed=1) - whole).max() > 0.1
    assert np.abs(apply(module, X) - whole).max() > 0.1
    with pytest.raises(ValueError, match="rows"):
        module.apply(variables_of(module), X, train=True)


def test_only_several_heads_drop_their_attention_weights():
    called = {}
    for name, heads in HEADS.items():
        module = SetTransformer(depth=1, num_heads=heads)
        traced = jax.eval_shape(
            lambda x, module=module: module.apply(
                variables_of(module), x, train=False, capture_intermediates=True
            )[1],
            X,
        )
        called[name] = set(traced["intermediates"]["layer1"])
    assert called["multi"] - called["single"] == {"weights_dropout"}
    assert {"attended_dropout", "reduced_dropout"} < called["single"]


def test_size_at_the_papers_width():
    module = SetTransformer()
    x = jax.ShapeDtypeStruct((2, 4, 512), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda key, x: module.init(key, x, train=False), key, x)
    attention, feed_forward, norms = 4 * (512 + 1) * 512, 2 * 512 * 2048 + 2048 + 512, 4 * 512
    sizes = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert sizes == 2 * (attention + feed_forward + norms)


@pytest.mark.parametrize(
    ("dtype", "held"), [("float32", "float32"), ("bfloat16", "float32"), ("float64", "float64")]
)
@pytest.mark.usefixtures("float64")
def test_dtypes(dtype, held):
    module = SetTransformer(num_heads=2, dtype=jnp.dtype(dtype))
    x = jax.ShapeDtypeStruct(X.shape, jnp.dtype(held))
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda key, x: module.init(key, x, train=False), key, x)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
    y = jax.eval_shape(lambda v, x: module.apply(v, x, train=False), variables, x)
    assert str(y.dtype) == dtype


def test_heads_must_divide_the_width():
    with pytest.raises(UsageError, match="width 8 cannot be split into 3 heads"):
        apply(SetTransformer(num_heads=3), X)
