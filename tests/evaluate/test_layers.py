"""Inner layers as features: means of the encoder's taps, probed beside its embedding."""

import jax
import numpy as np
import pytest

from avssl.config import load_config, override, resolve
from avssl.data.open import open_source
from avssl.errors import UsageError
from avssl.evaluate.features import Extractor, probed
from avssl.evaluate.layers import checked_layers
from avssl.train.build_model import evaluation_model

CONFIG = "configs/quickstart.py:quicktest"


@pytest.fixture(scope="module")
def model():
    return evaluation_model(resolve(load_config(CONFIG)))


def extracted(model, *layers):
    source = open_source("world:tiny@test")
    weights = model.init(jax.random.key(0))
    extractor = Extractor(model, batch_size=8, layers=layers)
    return extractor, weights, extractor.extract({"": weights}, source, np.arange(5))[""]


def test_layers_stand_beside_embeddings(model):
    extractor, weights, found = extracted(model, "video.layer1", "audio.layer2")
    features = probed(found)
    assert list(features) == ["video", "audio", "joint", "audio.layer2", "video.layer1"]
    batches = extractor.batches(open_source("world:tiny@test"), np.arange(5), 0)
    with batches:
        batch = jax.tree.map(np.asarray, next(iter(batches)))
    batch.pop("mask")

    def taps(variables, batch):
        every, _ = model.features(variables, batch, jax.random.key(0), train=False)
        return [every[read].taps for read in model.reads]

    seen = jax.jit(taps)(weights, batch)
    for own, (modality, tap) in zip(seen, (("video", "layer1"), ("audio", "layer2")), strict=True):
        array = np.asarray(own[tap])[:5]
        expected = array.mean(axis=tuple(range(1, array.ndim - 1)))
        np.testing.assert_allclose(features[f"{modality}.{tap}"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("video.layer9", "did you mean 'layer"),
        ("video.nothing", "unknown layer of the video encoder"),
    ],
)
def test_unknown_layers_are_refused(model, layer, words):
    with pytest.raises(UsageError, match=words):
        extracted(model, layer)


@pytest.mark.parametrize("layer", ["layer1", "text.layer1", "video."])
def test_what_is_no_layer_is_refused(layer):
    with pytest.raises(UsageError, match="is no layer"):
        checked_layers([layer])


def test_the_config_names_them():
    config = load_config(CONFIG)
    override(config, [("eval.layers", "('video.stem',)")])
    assert resolve(config).eval.layers == ("video.stem",)
