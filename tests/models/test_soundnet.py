import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.config import encoder_defaults
from avssl.config.flags import taken_over
from avssl.errors import UsageError
from avssl.models.soundnet import SlotClassifiers, SoundNet5, SoundNet8
from avssl.signal.frontends import build_frontend
from tests.models.drawing import drawn_evenly


@pytest.mark.usefixtures("float64")
def test_layers_are_those_of_the_release():
    """Convolution, bias, norm, ReLU, pooling, one output at a time; odd lengths all the way."""
    encoder = SoundNet5((2, 3, 2, 3), dtype=jnp.float64)
    x = np.random.default_rng(0).normal(size=(1, 5001, 1, 1))
    variables = drawn_evenly(encoder, x.shape, 0.1, 0.9)
    features = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x)
    y = x[0, :, 0]
    for layer, (kernel, pad, pool) in enumerate(
        ((64, 32, 8), (32, 16, 8), (16, 8, 8), (8, 4, 1)), 1
    ):
        conv, norm = (variables["params"][f"{part}{layer}"] for part in ("conv", "norm"))
        running = variables["batch_stats"][f"norm{layer}"]
        y = np.pad(y, ((pad, pad), (0, 0)))
        starts = range(0, len(y) - kernel + 1, 2)
        weight = conv["kernel"][:, 0]
        y = np.stack([np.einsum("ti,tio->o", y[t : t + kernel], weight) for t in starts])
        y = (y + conv["bias"] - running["mean"]) / np.sqrt(running["var"] + 1e-5)
        y = np.maximum(y * norm["scale"] + norm["bias"], 0)
        np.testing.assert_allclose(features.taps[f"conv{layer}"][0, :, 0], y, rtol=1e-9)
        y = np.stack([y[t : t + pool].max(axis=0) for t in range(0, len(y) - pool + 1, pool)])
    np.testing.assert_allclose(features.map[0, :, 0], y, rtol=1e-9)
    np.testing.assert_allclose(features.embedding[0], y.mean(axis=0), rtol=1e-9)


def test_lengths_of_the_sheet():
    x = jax.ShapeDtypeStruct((1, 441_000, 1, 1), jnp.float32)
    for module, expected in (
        (SoundNet8(), (220_501, 13_782, 862, 432, 217, 28, 15)),
        (SoundNet5(), (220_501, 13_782, 862, 54)),
    ):
        taps = jax.eval_shape(
            lambda x, m=module: m.init_with_output(jax.random.key(0), x, train=False)[0].taps, x
        )
        lengths = tuple(taps[f"conv{layer}"].shape[1] for layer in range(1, len(expected) + 1))
        assert lengths == expected
    heads = SlotClassifiers({"scenes": 401}, kernel=16, stride=12, padding=4)
    last = jax.ShapeDtypeStruct((1, 54, 1, 256), jnp.float32)
    logits = jax.eval_shape(lambda x: heads.init_with_output(jax.random.key(0), x)[0], last)
    assert logits["scenes"].shape == (1, 4, 401)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: drawn_evenly(SoundNet8(), (1, 4000, 1, 1), 0.1, 0.9),
            "4000 samples are too few.*layer 5",
        ),
        (
            lambda: drawn_evenly(SoundNet8(), (1, 80, 64, 1), 0.1, 0.9),
            "not a spectrogram of 64 bins",
        ),
    ],
)
def test_what_it_cannot_hear(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()


def test_too_few_moments_for_a_slot():
    with pytest.raises(UsageError, match="need 8 moments, the map has 2"):
        SlotClassifiers({"scenes": 3}).init(jax.random.key(0), jnp.zeros((1, 2, 1, 4)))


def test_its_front_end_comes_with_it():
    """Unless another is named."""
    config = encoder_defaults("audio", {"name": "soundnet8"})
    samples = build_frontend(config["frontend"])(jnp.full((1, 3, 1), 0.5), rate=22050)
    np.testing.assert_array_equal(samples, np.full((1, 3, 1, 1), 128.0))
    assert encoder_defaults("audio", {"name": "soundnet8", "frontend": {"gain": 512.0}})[
        "frontend"
    ] == {"name": "waveform", "gain": 512.0}
    other = encoder_defaults("audio", {"name": "soundnet8", "frontend": {"name": "log_mel"}})
    assert other["frontend"]["name"] == "log_mel"
    panns = encoder_defaults("audio", {"name": "cnn14"})["frontend"]
    assert (panns["num_mels"], panns["max_hz"], panns["top_db"]) == (64, 14000.0, None)
    assert encoder_defaults("audio", {"name": "small_audio"})["frontend"]["min_hz"] == 0.0


def test_an_encoder_that_brings_a_front_end_takes_over_none():
    log_mel = {"name": "small_audio", "modality": "audio", "frontend": {"name": "log_mel"}}
    assert "frontend" not in taken_over(log_mel, "soundnet8")
    assert "frontend" not in taken_over(log_mel | {"name": "soundnet8"}, "small_audio")
    assert "frontend" in taken_over(log_mel, "conv2d10")
