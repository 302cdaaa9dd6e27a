"""Several objectives at once: shared views are encoded once, weight 0 leaves an objective out."""

import jax
import pytest

from avssl.config import resolve
from avssl.errors import UsageError
from avssl.models.linear import LinearAudio, LinearVideo
from avssl.train.build_model import build_model
from tests.train.small_runs import small_config


@pytest.fixture
def encodings(monkeypatch):
    """Counts how often each encoder is called while a step is traced."""
    counts = {"video": 0, "audio": 0}
    for cls in (LinearVideo, LinearAudio):
        original = cls.__call__

        def counted(self, *arguments, original=original, **keywords):
            counts[self.modality] += 1
            return original(self, *arguments, **keywords)

        monkeypatch.setattr(cls, "__call__", counted)
    return counts


def trace(config, counts):
    """Traces the per-example half of a step and gives the objectives it ran."""
    model = build_model(config)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    batch = jax.eval_shape(lambda: model.example_batch(4))
    counts.update(video=0, audio=0)
    outputs, _ = jax.eval_shape(
        lambda v, b: model.encode(v, b, jax.random.key(0), train=True), variables, batch
    )
    return model, variables, outputs


def test_two_objectives_encode_each_view_once(encodings):
    config = small_config("xid", "avc", precision="float32")
    config.objectives.xid.weight = 0.5
    _, _, outputs = trace(config, encodings)
    assert encodings == {"video": 1, "audio": 1}
    assert outputs.keys() == {"xid", "avc"}


def test_views_of_equal_specification_are_encoded_once_whatever_their_names(encodings):
    config = small_config("xid", "avc", precision="float32")
    config.views.same = config.views.video
    config.objectives.avc.video_view = "same"
    trace(config, encodings)
    assert encodings == {"video": 1, "audio": 1}
    config.views.same = {**config.views.video.to_dict(), "frames": 1}
    trace(config, encodings)
    assert encodings == {"video": 2, "audio": 1}


def test_weight_zero_builds_no_heads_and_reads_no_views(encodings):
    config = small_config("xid", "avc", precision="float32")
    config.views.unused = {"modality": "video", "frames": 4}
    config.objectives.avc.video_view = "unused"
    config.objectives.avc.weight = 0.0
    model, variables, outputs = trace(config, encodings)
    assert outputs.keys() == {"xid"} == variables["params"]["objectives"].keys()
    assert model.views.keys() == {"video", "audio"}


def test_total_is_the_weighted_sum():
    config = small_config("xid", "avc", precision="float32")
    config.objectives.xid.weight = 0.25
    model = build_model(config)
    variables = model.init(jax.random.key(0))
    batch = model.example_batch(4)
    key = jax.random.key(1)
    outputs, _ = model.encode(variables, batch, key, train=False)
    total, (metrics, _) = model.loss(variables, outputs, batch, key, train=False)
    expected = 0.25 * metrics["xid/loss"] + metrics["avc/loss"]
    assert float(total) == pytest.approx(float(expected), rel=1e-6)


def test_view_or_encoder_that_the_config_lacks_is_named():
    config = small_config("xid")
    config.objectives.xid.audio_view = "adio"
    with pytest.raises(UsageError, match="adio"):
        build_model(resolve(config))
    config = small_config("xid")
    config.objectives.xid.audio_encoder = "video"
    with pytest.raises(UsageError, match="gives the audio view"):
        build_model(resolve(config))


def test_running_statistics_take_in_every_view_of_an_encoder():
    config = small_config("xid", "avc", precision="float32")
    config.views.other = {**config.views.video.to_dict(), "frames": 1}
    config.objectives.avc.video_view = "other"
    model = build_model(config)
    variables = model.init(jax.random.key(0))

    def statistics(bright):
        batch = model.example_batch(4)
        batch["views"][bright] = batch["views"][bright] + 200
        _, updated = model.encode(variables, batch, jax.random.key(1), train=True)
        return updated["encoders"]["video"]["patches"]["norm"]["mean"]

    assert abs(statistics("video") - statistics("audio")).max() > 1e-3
    assert abs(statistics("other") - statistics("audio")).max() > 1e-3
