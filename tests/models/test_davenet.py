import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models.davenet import ResDavenet, SpeechBlock


def abstract(encoder, shape, dtype=jnp.float32):
    """Shapes of the variables and of the features; nothing is computed."""
    x = jax.ShapeDtypeStruct(shape, dtype)
    features, variables = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x
    )
    return variables, features


def drawn(variables):
    """Variances stay positive."""
    random = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: (
            random.uniform(0.2, 1.0, leaf.shape).astype(np.float32)
            if leaf.ndim == 1
            else 0.3 * random.standard_normal(leaf.shape).astype(np.float32)
        ),
        variables,
    )


def test_sizes_of_the_paper():
    """10 s of 100 frames with 40 mels; the official module's parameters, counted by hand."""
    variables, features = abstract(ResDavenet(), (2, 1000, 40, 1))
    assert features.map.shape == (2, 63, 1, 1024)
    assert features.embedding.shape == (2, 1024)
    assert {name: tap.shape[1] for name, tap in features.taps.items()} == {
        "conv1": 1000,
        "layer1": 500,
        "layer2": 250,
        "layer3": 125,
        "layer4": 63,
    }
    expected, width = 40 * 128 + 2 * 128, 128
    for stage in (128, 256, 512, 1024):
        convolutions = 9 * width * stage + 3 * 9 * stage * stage + width * stage
        expected += convolutions + 5 * 2 * stage
        width = stage
    params = jax.tree.leaves(variables["params"])
    assert sum(leaf.size for leaf in params) == expected


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("dtype", "held"), [("float32", "float32"), ("bfloat16", "float32"), ("float64", "float64")]
)
def test_dtypes(dtype, held):
    encoder = ResDavenet((4, 4, 4, 4, 4), dtype=jnp.dtype(dtype))
    variables, features = abstract(encoder, (2, 80, 64, 1), jnp.dtype(held))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {held}
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(features)} == {dtype}


def normalised(x, name, variables):
    params, statistics = variables["params"], variables["batch_stats"]
    for part in name.split("/"):
        params, statistics = params[part], statistics[part]
    return (x - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5) * params["scale"] + params[
        "bias"
    ]


def convolved(x, kernel, stride):
    """[time, channels], padded by half the kernel, one output frame at a time."""
    kernel = kernel[:, 0]
    half = len(kernel) // 2
    x = np.pad(x, ((half, half), (0, 0)))
    starts = range(0, len(x) - len(kernel) + 1, stride)
    return np.stack([np.einsum("kc,kcd->d", x[t : t + len(kernel)], kernel) for t in starts])


@pytest.mark.parametrize(("stride", "channels"), [(2, 3), (1, 4)])
def test_a_block_equals_loops(stride, channels):
    x = np.random.default_rng(0).standard_normal((2, 11, 1, channels)).astype(np.float32)
    block = SpeechBlock(4, stride)
    variables = drawn(abstract(block, x.shape)[0])
    params = variables["params"]
    y = jax.jit(lambda v, x: block.apply(v, x, train=False))(variables, x)
    assert ("shortcut" in params) == (stride == 2)
    for row in range(2):
        frames = x[row, :, 0]
        z = convolved(frames, params["layer1"]["conv"]["kernel"], stride)
        z = np.maximum(normalised(z, "layer1/norm", variables), 0)
        z = normalised(convolved(z, params["conv2"]["kernel"], 1), "norm2", variables)
        if stride == 2:
            frames = convolved(frames, params["shortcut"]["kernel"], stride)
            frames = normalised(frames, "shortcut_norm", variables)
        np.testing.assert_allclose(y[row, :, 0], np.maximum(z + frames, 0), rtol=1e-4, atol=1e-4)


def test_the_first_layer_takes_all_bands_and_the_embedding_is_the_mean():
    encoder = ResDavenet((3, 4, 4, 4, 4), (1, 1, 1, 1))
    x = np.random.default_rng(0).standard_normal((2, 40, 5, 1)).astype(np.float32)
    variables = drawn(abstract(encoder, x.shape)[0])
    features = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x)
    kernel = variables["params"]["conv1"]["kernel"][0, :, 0]
    stem = np.maximum(normalised(x[..., 0] @ kernel, "norm1", variables), 0)
    np.testing.assert_allclose(features.taps["conv1"][:, :, 0], stem, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.embedding, features.map.mean(axis=(1, 2)), rtol=1e-5)
    assert features.map.shape == (2, 3, 1, 4)
