"""CNN14 and the speaker encoder: what lies around their convolutions, against numpy."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from avssl.config import encoder_defaults
from avssl.errors import UsageError
from avssl.models.cnn14 import Cnn14
from avssl.models.speaker import SpeakerResNet34, statistics_over_time
from avssl.signal.frontends import build_frontend
from tests.models.drawing import drawn_evenly

pytestmark = pytest.mark.usefixtures("float64")


def normalised(x, params, statistics):
    scaled = (x - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5)
    return scaled * params["scale"] + params["bias"]


def convolved(x, kernel):
    """[time, frequency, channels], 3x3."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    height, width = x.shape[:2]
    return sum(
        padded[i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def test_layers_are_those_of_the_release():
    encoder = Cnn14((2, 3), 4, dtype=jnp.float64)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 9, 7, 1)))
    variables = drawn_evenly(encoder, x.shape, -0.1, 0.7)
    variables["batch_stats"] = jax.tree.map(lambda leaf: leaf + 0.4, variables["batch_stats"])
    features = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x)
    params, statistics = variables["params"], variables["batch_stats"]
    y = normalised(np.asarray(x)[0, :, :, 0], params["norm0"], statistics["norm0"])[..., None]
    for block in (1, 2):
        for number in (1, 2):
            name = f"block{block}_{number}"
            y = convolved(y, params[name]["conv"]["kernel"])
            y = np.maximum(normalised(y, params[name]["norm"], statistics[name]["norm"]), 0)
        if block == 1:  # an odd row and an odd column are lost
            y = np.stack(
                [
                    [y[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(0, 1)) for j in range(3)]
                    for i in range(4)
                ]
            )
        np.testing.assert_allclose(features.taps[f"block{block}"][0], y, rtol=1e-9, atol=1e-12)
    moments = y.mean(axis=1)
    pooled = moments.max(axis=0) + moments.mean(axis=0)
    embedding = pooled @ params["linear"]["kernel"] + params["linear"]["bias"]
    np.testing.assert_allclose(features.embedding[0], np.maximum(embedding, 0), rtol=1e-9)


@pytest.mark.optimised
def test_its_front_end_is_librosas_at_the_released_constants():
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 6400)
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000,
        pad_mode="reflect",
    )  # fmt: skip
    expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None).T
    frontend = build_frontend(encoder_defaults("audio", {"name": "cnn14"})["frontend"])
    level = jax.jit(lambda x: frontend(x, rate=32000))(jnp.asarray(waveform[None, :, None]))
    assert level.shape == (1, 21, 64, 1)
    np.testing.assert_allclose(level[0, :, :, 0], expected, atol=1e-4)


def test_statistics_over_time():
    """In PyTorch's order of a map whose channels come first, with its unbiased deviation."""
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    first = x.transpose(0, 3, 2, 1)
    deviation = np.sqrt(first.var(axis=3, ddof=1) + 1e-7)
    expected = np.concatenate([first.mean(3).reshape(2, -1), deviation.reshape(2, -1)], axis=1)
    np.testing.assert_allclose(jax.jit(statistics_over_time)(jnp.asarray(x)), expected, rtol=1e-12)
    one = statistics_over_time(jnp.asarray(x[:, :1]))
    np.testing.assert_allclose(one[:, 12:], np.sqrt(1e-7), rtol=1e-6)


def test_speakers_map_keeps_frequencies():
    encoder = SpeakerResNet34((4, 4, 4, 4), (1, 1, 1, 1))
    x = jax.ShapeDtypeStruct((2, 41, 80, 1), jnp.float32)
    features = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False)[0], x
    )
    assert features.taps["conv1"].shape == (2, 41, 80, 4)
    assert (features.map.shape, features.embedding.shape) == ((2, 6, 10, 4), (2, 256))


@pytest.mark.parametrize("shape", [(1, 24, 64, 1), (1, 64, 16, 1)])
def test_sounds_that_are_too_short_are_refused(shape):
    with pytest.raises(UsageError, match="CNN14 needs 32 frames and 32 bands"):
        jax.eval_shape(lambda: Cnn14().init(jax.random.key(0), jnp.zeros(shape), train=False))
