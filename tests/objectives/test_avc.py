"""AVC's map: where in the picture the answer comes from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.models.features import Features
from avssl.objectives.avc import Avc

BATCH, FRAMES, HEIGHT, WIDTH, CHANNELS = 4, 2, 3, 5, 6


def features(objective, video_map, audio):
    return {
        objective.video_read: Features(video_map.max(axis=(1, 2, 3)), video_map),
        objective.audio_read: Features(audio, None),
    }


@pytest.fixture(params=[False, True])
def started(request):
    objective = Avc(hidden=8, norm_heads=request.param)
    generator = np.random.default_rng(0)
    video_map = jnp.asarray(
        generator.standard_normal((BATCH, FRAMES, HEIGHT, WIDTH, CHANNELS)), jnp.float32
    )
    audio = jnp.asarray(generator.standard_normal((BATCH, CHANNELS)), jnp.float32)
    there = jnp.ones(BATCH, bool)
    batch = {"index": jnp.arange(BATCH), "present": {"video": there, "audio": there}}
    key = jax.random.key(0)
    given = features(objective, video_map, audio)
    made = objective.init({"params": key, "draw": key}, given, batch, method="initialise")

    def heads(given, *, train=False):
        return objective.apply(made, given, batch, train=train, method="heads")

    def score(*pair):
        return objective.apply(made, *pair, method="row_similarity")

    return objective, video_map, audio, heads, score


def test_a_cell_of_the_map_is_the_answer_to_a_picture_that_is_that_cell(started):
    objective, video_map, audio, heads, score = started
    found = heads(features(objective, video_map, audio))["video_map"]
    assert found.shape == (BATCH, HEIGHT, WIDTH)
    frames = []
    for frame in range(FRAMES):
        alone = jnp.broadcast_to(video_map[:, frame, 1, 2][:, None, None, None], video_map.shape)
        outputs = heads(features(objective, alone, audio))
        frames.append(score(outputs["video"], outputs["audio"]))
    np.testing.assert_allclose(found[:, 1, 2], (frames[0] + frames[1]) / 2, rtol=1e-5, atol=1e-6)


def test_no_map_in_training_nor_of_features_that_are_no_cells(started):
    objective, video_map, audio, heads, _ = started
    given = features(objective, video_map, audio)
    assert "video_map" not in heads(given, train=True)
    other = {**given, objective.video_read: Features(given[objective.video_read].embedding, None)}
    assert "video_map" not in heads(other)
