"""The ResNets against torchvision's forward pass, written once more from a state_dict's names."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models import torch_names
from avssl.models.registry import ENCODERS
from avssl.models.torch_names import to_torch

pytestmark = pytest.mark.usefixtures("float64")

WIDTHS, BLOCKS = (4, 6, 8, 5), (2, 1, 1, 1)
CLIP, SPECTROGRAM = (2, 5, 24, 20, 3), (2, 37, 50, 1)
VIDEO = {
    "r2plus1d18_torchvision": {"factored": True, "time_kernels": (3, 3, 3, 3)},
    "r3d_18": {"factored": False, "time_kernels": (3, 3, 3, 3)},
    "mc3_18": {"factored": False, "time_kernels": (3, 1, 1, 1)},
}


def conv(x, weight, *strides):
    """Batch and channels first."""
    halves = [(size // 2, size // 2) for size in weight.shape[2:]]
    return jax.lax.conv_general_dilated(x, weight, strides, halves)


def norm(state, key, x, *, epsilon=1e-5, train=False):
    def beside(vector):
        return vector.reshape(1, -1, *(1,) * (x.ndim - 2))

    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes) if train else state[f"{key}.running_mean"]
    var = x.var(axes) if train else state[f"{key}.running_var"]
    scale = state[f"{key}.weight"] / jnp.sqrt(var + epsilon)
    return (x - beside(mean)) * beside(scale) + beside(state[f"{key}.bias"])


def video_resnet(state, x, *, factored, time_kernels, norm=norm):
    def convolution(x, key, strides):
        if not factored:
            return conv(x, state[f"{key}.weight"], *strides)
        x = conv(x, state[f"{key}.0.weight"], 1, *strides[1:])
        x = jax.nn.relu(norm(state, f"{key}.1", x))
        return conv(x, state[f"{key}.3.weight"], strides[0], 1, 1)

    x = convolution(x, "stem" if factored else "stem.0", (1, 2, 2))
    x = jax.nn.relu(norm(state, "stem.4" if factored else "stem.1", x))
    for stage, (num_blocks, time_kernel) in enumerate(zip(BLOCKS, time_kernels, strict=True), 1):
        for block in range(num_blocks):
            key = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            strides = (stride if time_kernel == 3 else 1, stride, stride)
            y = jax.nn.relu(
                norm(state, f"{key}.conv1.1", convolution(x, f"{key}.conv1.0", strides))
            )
            y = norm(state, f"{key}.conv2.1", convolution(y, f"{key}.conv2.0", (1, 1, 1)))
            if f"{key}.downsample.0.weight" in state:
                x = conv(x, state[f"{key}.downsample.0.weight"], *strides)
                x = norm(state, f"{key}.downsample.1", x)
            x = jax.nn.relu(x + y)
    return x


def resnet2d(state, x, *, strides):
    x = jax.nn.relu(norm(state, "bn1", conv(x, state["conv1.weight"], 2, 2)))
    window, pad = (1, 1, 3, 3), (1, 1)
    x = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, window, (1, 1, 2, 2), ((0, 0), (0, 0), pad, pad)
    )
    for stage, (num_blocks, stage_stride) in enumerate(zip(BLOCKS, strides, strict=True), start=1):
        for block in range(num_blocks):
            key, stride = f"layer{stage}.{block}", stage_stride if block == 0 else 1
            bottleneck = f"{key}.conv3.weight" in state
            convs = [(stride, stride), (1, 1)]
            convs = [(1, 1), *convs] if bottleneck else convs
            y = x
            for number, strided in enumerate(convs, start=1):
                y = conv(y, state[f"{key}.conv{number}.weight"], *strided)
                y = norm(state, f"{key}.bn{number}", y)
                y = jax.nn.relu(y) if number < len(convs) else y
            if f"{key}.downsample.0.weight" in state:
                x = conv(x, state[f"{key}.downsample.0.weight"], stride, stride)
                x = norm(state, f"{key}.downsample.1", x)
            x = jax.nn.relu(x + y)
    return x


def encoder_and_variables(name, shape, **fields):
    """Variables without compiling an initialiser; variances stay positive."""
    encoder = ENCODERS[name](widths=WIDTHS, blocks=BLOCKS, dtype=jnp.float64, **fields)
    x = jax.ShapeDtypeStruct(shape, jnp.float64)
    abstract = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, train=False), x)
    random = np.random.default_rng(1)

    def draw(leaf):
        if leaf.ndim == 1:
            return random.uniform(0.2, 1.0, leaf.shape)
        return random.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))

    return encoder, jax.tree.map(draw, abstract)


def drawn_input(shape):
    return np.random.default_rng(0).normal(size=shape)


def apply(encoder, variables, x):
    return jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x)


@pytest.mark.parametrize("name", VIDEO)
def test_video_resnets_are_torchvisions(name):
    encoder, variables = encoder_and_variables(name, CLIP)
    features = apply(encoder, variables, x := drawn_input(CLIP))
    table = torch_names.video_resnet(BLOCKS, factored=VIDEO[name]["factored"])
    state = to_torch(table, variables)
    expected = jax.jit(partial(video_resnet, **VIDEO[name]))(state, np.moveaxis(x, -1, 1))
    np.testing.assert_allclose(features.map, np.moveaxis(expected, 1, -1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(features.embedding, expected.mean((2, 3, 4)), rtol=1e-9)
    assert features.map.shape[1] == (5 if name == "mc3_18" else 1)


def test_norms_of_xdc():
    """In training; a momentum of 0.9 keeps a tenth of the old statistics."""
    name, epsilon = "r2plus1d18_torchvision", 1e-3
    encoder, variables = encoder_and_variables(name, CLIP, norm_epsilon=epsilon, norm_momentum=0.9)
    x = drawn_input(CLIP)
    features, changed = jax.jit(
        lambda v, x: encoder.apply(v, x, train=True, mutable=["batch_stats"])
    )(variables, x)
    table = torch_names.video_resnet(BLOCKS, factored=True)
    before, after = to_torch(table, variables), to_torch(table, variables | changed)
    seen = {}

    def training_norm(state, key, x):
        axes = (0, 2, 3, 4)
        seen[key] = x.mean(axes), x.var(axes, ddof=1)
        return norm(state, key, x, epsilon=epsilon, train=True)

    @jax.jit
    def forward(state, x):
        seen.clear()
        return video_resnet(state, x, **VIDEO[name], norm=training_norm), dict(seen)

    expected, statistics = forward(before, np.moveaxis(x, -1, 1))
    np.testing.assert_allclose(features.map, np.moveaxis(expected, 1, -1), rtol=1e-7, atol=1e-10)
    assert len(statistics) == 2 + 4 * sum(BLOCKS) + 3
    for key, (mean, var) in statistics.items():
        for kind, new in (("running_mean", mean), ("running_var", var)):
            blended = 0.1 * before[f"{key}.{kind}"] + 0.9 * new
            np.testing.assert_allclose(after[f"{key}.{kind}"], blended, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    ("strides", "frequency_first"), [((1, 2, 2, 2), True), ((1, 2, 2, 1), False)]
)
def test_resnet_on_a_spectrogram_is_torchvisions(strides, frequency_first):
    encoder, variables = encoder_and_variables("resnet18_audio", SPECTROGRAM, strides=strides)
    features = apply(encoder, variables, x := drawn_input(SPECTROGRAM))
    state = to_torch(torch_names.resnet2d(BLOCKS, frequency_first=frequency_first), variables)
    axes = (0, 3, 2, 1) if frequency_first else (0, 3, 1, 2)
    expected = jax.jit(partial(resnet2d, strides=strides))(state, x.transpose(axes))
    expected = np.transpose(expected, np.argsort(axes))
    np.testing.assert_allclose(features.map, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(features.embedding, expected.mean((1, 2)), rtol=1e-9)


def test_bottlenecks_are_torchvisions_on_each_frame():
    """With the map twice as fine and a maximum over positions."""
    frames, strides = (2, 2, 37, 33, 3), (1, 2, 2, 1)
    settings = {"strides": strides, "pooling": "max"}
    encoder, variables = encoder_and_variables("resnet50_video", frames, **settings)
    features = apply(encoder, variables, x := drawn_input(frames))
    state = to_torch(torch_names.resnet2d(BLOCKS, bottleneck=True), variables)
    pictures = np.moveaxis(x.reshape(-1, *frames[2:]), -1, 1)
    expected = np.moveaxis(jax.jit(partial(resnet2d, strides=strides))(state, pictures), 1, -1)
    expected = expected.reshape(2, 2, *expected.shape[1:])
    assert expected.shape[-1] == 4 * WIDTHS[-1]
    np.testing.assert_allclose(features.map, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(features.embedding, expected.max((2, 3)).mean(1), rtol=1e-9)


def test_names_are_torchvisions():
    """Some of each kind, as `torchvision/models` gives them."""
    factored = {entry.key for entry in torch_names.video_resnet(factored=True)}
    plain = {entry.key for entry in torch_names.video_resnet(factored=False)}
    audio = {entry.key for entry in torch_names.resnet2d()}
    assert factored > {
        "stem.0.weight",
        "stem.3.weight",
        "stem.4.running_var",
        "layer1.0.conv1.0.0.weight",
        "layer1.0.conv1.0.1.running_mean",
        "layer1.0.conv1.0.3.weight",
        "layer1.0.conv1.1.bias",
        "layer2.0.downsample.1.weight",
        "layer4.1.conv2.0.3.weight",
    }
    assert plain > {
        "stem.0.weight",
        "stem.1.weight",
        "layer1.0.conv1.0.weight",
        "layer1.1.conv2.1.bias",
        "layer3.0.downsample.0.weight",
    }
    assert audio > {
        "conv1.weight",
        "bn1.weight",
        "layer1.0.conv1.weight",
        "layer1.1.bn2.running_mean",
        "layer4.0.downsample.0.weight",
        "layer4.0.downsample.1.bias",
    }
    # torchvision's modules: a weight per convolution, four arrays per norm.
    assert [len(factored), len(plain), len(audio)] == [37 * 5, 20 * 5, 20 * 5]
