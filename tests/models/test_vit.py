"""Vision transformers: sizes, the same numbers however they are computed, and draws by row."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.config import encoder_defaults
from avssl.errors import UsageError
from avssl.models import transformer
from avssl.models.draws import StochasticDepth, split_tokens
from avssl.models.transformer import Blocks, attend
from avssl.models.vit import AudioVit, VideoVit, cut, positions
from avssl.signal.frontends import build_frontend

ROWS = jnp.arange(4, dtype=jnp.int32)


def num_parameters(encoder, shape):
    made = jax.eval_shape(
        lambda x: encoder.init(jax.random.key(0), x, train=False), jnp.zeros(shape)
    )
    return sum(leaf.size for leaf in jax.tree.leaves(made["params"]))


@pytest.mark.parametrize(
    ("size", "width", "depth", "hidden"),
    [
        ("S", 384, 12, 1536), ("B", 768, 12, 3072), ("L", 1024, 24, 4096), ("H", 1280, 32, 5120),
        ("g", 1408, 40, 6144),
    ],
)  # fmt: skip
def test_sizes(size, width, depth, hidden):
    block = 4 * width * width + 4 * width + 2 * width * hidden + hidden + width + 4 * width
    patches = 2 * 16 * 16 * 3 * width + width
    video = VideoVit(size=size, scan=True, remat="full")
    assert num_parameters(video, (1, 16, 224, 224, 3)) == depth * block + patches + 2 * width


def test_another_depth():
    encoders = (AudioVit(size="tiny", depth=depth) for depth in (1, None, 3))
    one, own, three = (num_parameters(encoder, (1, 32, 32, 1)) for encoder in encoders)
    assert three - own == own - one > 0


def test_a_pair_of_a_billion():
    pair = num_parameters(VideoVit(size="H", scan=True, remat="full"), (1, 2, 32, 32, 3))
    pair += num_parameters(AudioVit(size="H", scan=True, remat="full"), (1, 16, 16, 1))
    assert pair > 1e9


def test_patches_are_those_of_a_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 4, 32, 48, 3))
    kernel = jax.random.normal(jax.random.key(1), (2, 16, 16, 3, 8))
    convolved = jax.lax.conv_general_dilated(
        x, kernel, (2, 16, 16), "VALID", dimension_numbers=("NTHWC", "THWIO", "NTHWC")
    )
    product = cut(x, (2, 16, 16)) @ kernel.reshape(-1, 8)
    np.testing.assert_allclose(product, convolved, rtol=1e-4, atol=1e-3)


def test_every_place_has_its_own_position():
    found = positions((3, 4, 5), 64)
    assert found.shape == (60, 64)
    assert len(np.unique(found.round(5), axis=0)) == 60
    # Neighbours are more alike than strangers.
    first = found[0]
    assert first @ found[1] > first @ found[4]


def gradients(blocks, params, x, train=False):
    def loss(params):
        return jnp.sum(jnp.sin(blocks.apply(params, x, train=train)[0]))

    return jax.grad(loss)(params)


def stacked(params, depth):
    """The parameters of unrolled blocks as a scan has them."""
    each = [params["params"][f"block{place}"] for place in range(depth)]
    return {"params": {"blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)}}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("remat", ["attention", "dots", "full"])
def test_what_is_computed_anew_is_the_same(remat):
    fields = dict(depth=3, num_heads=2, hidden=24, dtype=jnp.float64)
    x = jax.random.normal(jax.random.key(0), (2, 5, 16), jnp.float64)
    plain, other = Blocks(**fields), Blocks(**fields, remat=remat)
    params = plain.init(jax.random.key(1), x, train=False)
    np.testing.assert_allclose(
        other.apply(params, x, train=False)[0], plain.apply(params, x, train=False)[0], atol=1e-12
    )
    expected = gradients(plain, params, x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10),
        gradients(other, params, x),
        expected,
    )


@pytest.mark.usefixtures("float64")
def test_a_scan_is_the_same_as_blocks_one_after_another():
    fields = dict(depth=3, num_heads=2, hidden=24, dtype=jnp.float64)
    x = jax.random.normal(jax.random.key(0), (2, 5, 16), jnp.float64)
    plain, scan = Blocks(**fields), Blocks(**fields, remat="full", scan=True)
    params = plain.init(jax.random.key(1), x, train=False)
    own = stacked(params, 3)
    made = jax.eval_shape(lambda: scan.init(jax.random.key(1), x, train=False))
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, made)
    np.testing.assert_allclose(
        scan.apply(own, x, train=False)[0], plain.apply(params, x, train=False)[0], atol=1e-12
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10),
        gradients(scan, own, x),
        stacked(gradients(plain, params, x), 3),
    )


def test_narrow_scores_are_near():
    x = jax.random.normal(jax.random.key(0), (2, 9, 32))
    wide = Blocks(2, 4, 64)
    params = wide.init(jax.random.key(1), x, train=False)
    expected = wide.apply(params, x, train=False)[0]
    same = Blocks(2, 4, 64, narrow_scores=True).apply(params, x, train=False)[0]
    np.testing.assert_allclose(same, expected, atol=1e-5)
    narrow = Blocks(2, 4, 64, narrow_scores=True, dtype=jnp.bfloat16)
    found = narrow.apply(params, x.astype(jnp.bfloat16), train=False)[0]
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.1)


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="a GPU has cuDNN")
def test_without_cudnn_flash_is_plain_attention_that_keeps_no_scores():
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 9, 2, 8))

    def kept(flash):
        out, pull = jax.vjp(partial(attend, narrow_scores=False, flash=flash), query, key, value)
        return out, pull(jnp.sin(out)), {leaf.shape for leaf in jax.tree.leaves(pull)}

    expected, gradients, shapes = kept(flash=False)
    found, same, fewer = kept(flash=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), same, gradients)
    assert (2, 2, 9, 9) in shapes
    assert (2, 2, 9, 9) not in fewer


def test_flash_is_chosen_by_the_target(monkeypatch):
    """cuDNN is played: tracing its kernel needs an NVIDIA GPU."""
    monkeypatch.setattr(transformer, "has_cudnn", lambda: True)
    monkeypatch.setattr(transformer, "cudnn_attention", lambda query, *_: jnp.tanh(query))
    shape = jax.ShapeDtypeStruct((2, 10, 2, 8), jnp.bfloat16)

    def loss(*rows):
        return attend(*rows, narrow_scores=False, flash=True).astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(loss)).trace(shape, shape, shape)
    for platform, has_kernel in (("cuda", True), ("tpu", False), ("cpu", False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("tanh" in text) == has_kernel
        assert ("2x2x10x10" in text) != has_kernel


def test_what_flash_does_not_train_is_said(monkeypatch):
    x, fields = jnp.ones((2, 9, 32)), dict(depth=1, num_heads=2, hidden=32, flash=True)
    wide, narrow = Blocks(**fields), Blocks(**fields, dtype=jnp.bfloat16)
    params = wide.init(jax.random.key(0), x, train=False)
    with pytest.raises(UsageError, match="computes in float32: set precision=bf16"):
        wide.apply(params, x, train=True)
    narrow.apply(params, x, train=True)
    monkeypatch.setattr(transformer, "has_cudnn", lambda: True)
    with pytest.raises(UsageError, match="set precision=bf16"):
        wide.apply(params, x, train=False)
    with pytest.raises(UsageError, match="an even number of patches, not 9"):
        narrow.apply(params, x, train=True)


def test_dropped_patches_depend_on_the_row_alone():
    key = jax.random.key(0)
    kept, hidden = map(np.asarray, split_tokens(key, ROWS, 20, 5))
    assert kept.shape == (4, 5)
    assert len({tuple(row) for row in kept}) > 1
    for some in (kept, hidden):
        assert (np.diff(some, axis=1) > 0).all()
    assert (np.sort(np.concatenate([kept, hidden], axis=1)) == np.arange(20)).all()
    for some, whole in zip(split_tokens(key, ROWS[2:], 20, 5), (kept, hidden), strict=True):
        np.testing.assert_array_equal(some, whole[2:])


def test_sound_does_not_drown_its_positions():
    """As its own front end gives it; plain decibels are sixty times as large."""
    frontend = build_frontend(encoder_defaults("audio", {"name": "vit_audio"})["frontend"])
    loudness = np.geomspace(1e-4, 0.3, 16000)[None, :, None]
    sound = jnp.asarray(np.random.default_rng(0).normal(size=(1, 16000, 1)) * loudness, jnp.float32)
    level = frontend(sound, rate=16000)
    # The linear layer of the patches starts with tokens as large as what it is given.
    places = positions((7, 8), 64)
    assert np.sqrt(np.mean(np.square(level))) < 4 * np.sqrt(np.mean(places**2))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_the_embedding_pools_the_map(pooling):
    encoder = AudioVit(size="tiny", pooling=pooling)
    x = jax.random.normal(jax.random.key(0), (2, 32, 32, 1))
    variables = encoder.init(jax.random.key(1), x, train=False)
    features = encoder.apply(variables, x, train=False)
    pooled = getattr(np, pooling)(features.map.reshape(2, 4, -1), axis=1)
    np.testing.assert_allclose(features.embedding, pooled, rtol=1e-5, atol=1e-6)


def test_patch_drop_is_for_training():
    x = jax.random.normal(jax.random.key(0), (4, 32, 48, 1))
    encoder = AudioVit(size="tiny", patch_drop=0.5)
    params = encoder.init(jax.random.key(1), x, train=False)
    seen = encoder.apply(params, x, train=False)
    assert seen.map.shape == (4, 2, 3, 64)
    assert set(seen.taps) == {"block0", "block1"}
    np.testing.assert_allclose(seen.embedding, seen.map.mean(axis=(1, 2)), atol=1e-5)
    dropped = encoder.apply(params, x, train=True, rows=ROWS, rngs={"draw": jax.random.key(2)})
    assert dropped.map is None
    assert dropped.patches.seen.shape == (4, 3, 64)
    assert dropped.patches.hidden.shape == (4, 3)
    assert dropped.patches.grid == (2, 3)
    assert seen.patches.hidden.shape == (4, 0)
    np.testing.assert_array_equal(seen.patches.seen, seen.map.reshape(4, 6, 64))
    assert np.abs(dropped.embedding - seen.embedding).max() > 1e-3
    rest = encoder.apply(params, x[2:], train=True, rows=ROWS[2:], rngs={"draw": jax.random.key(2)})
    np.testing.assert_allclose(rest.embedding, dropped.embedding[2:], atol=1e-5)


def test_stochastic_depth_leaves_out_whole_rows():
    x = jnp.ones((400, 3, 2))
    rows = jnp.arange(400, dtype=jnp.int32)
    y = StochasticDepth().apply(
        {}, x, 0.25, train=True, rows=rows, rngs={"draw": jax.random.key(0)}
    )
    each = np.unique(np.asarray(y).reshape(400, -1), axis=1)
    assert each.shape == (400, 1)
    assert 0.15 < (each == 0).mean() < 0.35
    np.testing.assert_allclose(np.unique(each), [0, 4 / 3], atol=1e-6)


@pytest.mark.parametrize("scan", [False, True])
def test_drop_path_reaches_the_blocks(scan):
    x = jax.random.normal(jax.random.key(0), (4, 6, 16))
    blocks = Blocks(3, 2, 24, drop_path=0.9, remat="full", scan=scan)
    params = blocks.init(jax.random.key(1), x, train=False)
    still = blocks.apply(params, x, train=False)[0]
    moved = blocks.apply(params, x, train=True, rows=ROWS, rngs={"draw": jax.random.key(2)})[0]
    assert np.abs(moved - still).max() > 1e-3


@pytest.mark.parametrize(
    ("encoder", "shape", "words"),
    [
        (VideoVit(size="tiny"), (1, 3, 32, 32, 3), "not made of tubelets"),
        (VideoVit(size="XL"), (1, 2, 32, 32, 3), "unknown size"),
        (AudioVit(size="tiny", depth=0), (1, 32, 32, 1), "depth .* at least 1"),
        (AudioVit(size="tiny", patch_drop=1.0), (1, 32, 32, 1), "patch_drop"),
        (AudioVit(size="tiny", remat="all"), (1, 32, 32, 1), "unknown remat"),
        (AudioVit(size="tiny", scan=True), (1, 32, 32, 1), "remat=full"),
        (AudioVit(size="tiny", flash=True, narrow_scores=True), (1, 32, 32, 1), "no scores"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(encoder, shape, words):
    with pytest.raises(UsageError, match=words):
        encoder.init(jax.random.key(0), jnp.zeros(shape), train=False)
