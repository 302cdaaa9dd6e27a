"""What a measurement looks at, and what it keeps of that."""

import jax
import numpy as np
import pytest

from avssl.config import resolve
from avssl.config_file import load_config
from avssl.evaluate import features
from avssl.evaluate.features import Extracted, Extractor
from avssl.evaluate.run import Asked, planned
from tests.conftest import TINY_CONFIG

TRAIN, TEST = "world:tiny@train", "world:tiny@test"


@pytest.fixture
def looked_at(monkeypatch):
    """The sources that features are extracted of, as they are."""
    specs, extract = [], Extractor.extract

    def noted(self, weights, source, *args, **keys):
        specs.append(source.spec)
        return extract(self, weights, source, *args, **keys)

    monkeypatch.setattr(Extractor, "extract", noted)
    return specs


def measured(*protocols):
    config = load_config(TINY_CONFIG)
    config.data.num_records = 32
    asked = Asked(data=TRAIN, test_data=TEST, protocols=protocols)
    measurement = planned(resolve(config), asked)
    assert measurement is not None
    variables = jax.jit(measurement.whole.init)(jax.random.key(0))
    return measurement({**variables, "ema": variables["params"]}, "some weights")


def test_of_the_training_part_nothing_is_kept_but_what_probes_read(looked_at):
    rows, sides = measured("knn")
    assert looked_at == [TRAIN, TEST]
    assert {row.features for row in rows} == {"audio", "video", "joint"}
    assert len(sides.train.index) == len(sides.train.labels) == 32
    assert {name: len(array) for name, array in sides.train.embeddings.items()} == {
        "audio": 32,
        "video": 32,
    }
    assert sides.train.outputs == sides.train.geometry == {}
    assert sides.test.outputs["xid"]["video"].shape == (16, 16)
    assert sides.test.geometry.keys() == {"audio", "video"}


def test_outputs_are_moved_to_the_device_as_they_are_asked_for(monkeypatch):
    moved, asarray = [], features.jnp.asarray
    monkeypatch.setattr(
        features.jnp, "asarray", lambda array: moved.append(array) or asarray(array)
    )
    logits, video = np.ones((2, 3)), np.zeros((2, 9))
    none = np.zeros(2, int)
    found = Extracted({}, {"one": {"logits": logits, "video": video}}, none, none, {}, {}, 0)
    outputs = found.of("one")
    assert {"logits", "video"} <= outputs.keys()
    assert not moved
    assert isinstance(outputs["logits"], jax.Array)
    assert len(moved) == 1
    assert moved[0] is logits


def test_rows_of_a_whole_mask_are_no_copy():
    index = np.arange(4)
    found = Extracted({"video": np.eye(4)}, {}, index, index, {}, {}, 0)
    assert found.where(index >= 0) is found
    np.testing.assert_array_equal(found.where(index > 1).embeddings["video"], np.eye(4)[2:])
