"""What a measurement looks at, and what it keeps of that."""

import av
import jax
import numpy as np
import pytest

from avssl.config import load_config, resolve
from avssl.errors import UsageError
from avssl.evaluate import features
from avssl.evaluate.features import Extracted, Extractor
from avssl.evaluate.run import Asked, planned
from tests.conftest import TINY_CONFIG

TRAIN, TEST = "world:tiny@train", "world:tiny@test"


@pytest.fixture(scope="module")
def looked_at():
    """The sources that features are extracted of, as they are."""
    specs, extract = [], Extractor.extract

    def noted(self, weights, source, *args, **keys):
        specs.append(source.spec)
        return extract(self, weights, source, *args, **keys)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Extractor, "extract", noted)
        yield specs


def measured(*protocols, data=TRAIN):
    config = load_config(TINY_CONFIG)
    config.objectives = dict(classify=dict(weight=1.0, modalities=("audio",), num_classes=5))
    config.data.num_records = 32
    asked = Asked(data=data, test_data=TEST, protocols=protocols)
    measurement = planned(resolve(config), asked)
    assert measurement is not None
    variables = jax.jit(measurement.whole.init)(jax.random.key(0))
    return measurement({**variables, "ema": variables["params"]}, "some weights")


@pytest.fixture(scope="module")
def with_probe(looked_at):
    return *measured("classification", "clustering", "knn"), list(looked_at)


def test_of_the_training_part_nothing_is_kept_but_what_probes_read(with_probe):
    rows, sides, specs = with_probe
    assert specs == [TRAIN, TEST]
    assert {row.protocol for row in rows} == {"classification", "clustering", "knn"}
    assert len(sides.train.index) == len(sides.train.labels) == 32
    assert len(sides.train.embeddings["audio"]) == 32
    assert sides.train.outputs == sides.train.geometry == {}
    assert sides.test.outputs["classify"]["logits"].shape == (16, 5)
    assert sides.test.geometry.keys() == {"audio"}


@pytest.fixture
def silent(tmp_path):
    """A video without sound or class, which no probe could be trained on."""
    with av.open(str(tmp_path / "one.mp4"), "w") as file:
        track = file.add_stream("mpeg4", rate=4)
        track.width = track.height = 32
        for _ in range(8):
            file.mux(track.encode(av.VideoFrame(32, 32, "rgb24")))
        file.mux(track.encode(None))
    return f"folder:{tmp_path}"


def test_without_a_probe_the_training_part_is_left_alone(with_probe, looked_at, silent, capsys):
    looked_at.clear()
    rows, sides = measured("classification", "clustering", data=silent)
    assert looked_at == [TEST]
    assert silent not in capsys.readouterr().out
    assert not len(sides.train.index)
    assert rows == [row for row in with_probe[0] if row.protocol != "knn"]
    with pytest.raises(UsageError, match="a probe cannot be trained on folder"):
        measured("clustering", "knn", data=silent)


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
