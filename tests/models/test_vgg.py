import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.models.registry import build_encoder
from avssl.models.torch_names import to_torch, vgg16

pytestmark = pytest.mark.usefixtures("float64")

SHAPES = {"vgg16_video": (2, 3, 22, 26, 3), "vggish_audio": (2, 21, 18, 1)}
NARROW = {
    "vgg16_video": {"widths": [2, 3, 4], "layers": [2, 1, 2]},
    "vggish_audio": {"widths": [3, 4, 5], "layers": [1, 1, 2]},
}


def built(name, **fields):
    return build_encoder("main", {"name": name, **NARROW[name], **fields}, jnp.float64)


def drawn(encoder, x):
    abstract = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, train=False), x)
    random = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape), abstract)


def keras(params, x, layers, padding):
    """Keras' layers: convolutions with biases, and poolings that see to odd edges by `padding`."""
    maps = []
    for block, num_layers in enumerate(layers, start=1):
        for layer in range(1, num_layers + 1):
            part = params[f"conv{block}_{layer}"]
            x = jax.lax.conv_general_dilated(
                x,
                part["conv"]["kernel"],
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            x = jax.nn.relu(x + part["bias"][None, None, None])
        if block < len(layers):
            window = (1, 2, 2, 1)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, padding)
        maps.append(x)
    return maps


@pytest.mark.parametrize(("name", "padding"), [("vgg16_video", "VALID"), ("vggish_audio", "SAME")])
def test_maps_are_those_of_keras_layers(name, padding):
    """Sizes are odd somewhere on the way."""
    encoder, shape = built(name), SHAPES[name]
    x = np.random.default_rng(0).normal(size=shape)
    variables = drawn(encoder, x)
    features = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x)
    frames = x.reshape(-1, *shape[-3:])
    maps = keras(variables["params"]["trunk"], frames, encoder.layers, padding)
    for block, expected in enumerate(maps, start=1):
        tap = features.taps[f"conv{block}"]
        assert tap.shape[:-3] == shape[:-3]
        np.testing.assert_allclose(tap.reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)
    assert features.map.shape == features.taps["conv3"].shape


@pytest.mark.parametrize("name", NARROW)
def test_pooling(name):
    x = np.random.default_rng(0).normal(size=SHAPES[name])
    variables = drawn(built(name), x)
    for pooling in ("max", "mean"):
        encoder = built(name, pooling=pooling)
        features = jax.jit(lambda v, x, e=encoder: e.apply(v, x, train=False))(variables, x)
        expected = getattr(np, pooling)(np.asarray(features.map), axis=(-3, -2))
        if name == "vgg16_video":
            expected = expected.mean(axis=1)
        np.testing.assert_allclose(features.embedding, expected, rtol=1e-12)
    with pytest.raises(UsageError, match=r"pooling 'men'.*did you mean 'mean'"):
        drawn(built(name, pooling="men"), x)


@pytest.mark.parametrize("name", NARROW)
def test_a_norm_takes_the_place_of_a_bias(name):
    x = jnp.zeros(SHAPES[name])
    assert "batch_stats" not in drawn(built(name), x)
    variables = drawn(built(name, batch_norm=True), x)
    layer = variables["params"]["trunk"]["conv1_1"]
    assert set(layer) == {"conv", "norm"}
    assert set(layer["conv"]) == {"kernel"}


def test_linear_layers_see_the_map_as_pytorch_flattens_it():
    encoder = build_encoder(
        "main", {"name": "vgg16_video", "widths": [2, 3], "layers": [1, 1], "linear": [5, 4]}, jnp.float64
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(2, 1, 12, 8, 3))
    variables = drawn(encoder, x)
    features = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x)
    state = to_torch(vgg16((1, 1), num_linear=2, grid=(3, 2)), variables)
    pooled = np.asarray(features.map)[:, 0].reshape(2, 3, 2, 2, 2, 3).max(axis=(2, 4))
    y = pooled.transpose(0, 3, 1, 2).reshape(2, -1)
    for key in ("classifier.0", "classifier.3"):
        y = np.maximum(y @ state[f"{key}.weight"].T + state[f"{key}.bias"], 0)
    assert y.std() > 0.1
    np.testing.assert_allclose(features.embedding, y, rtol=1e-10)
