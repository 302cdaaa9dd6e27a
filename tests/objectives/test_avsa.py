"""AVSA: its stages, the views it refuses, and scores between viewpoints."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.objectives import build_objective

PANORAMA = VideoView(projection="sphere", flip=False)
VIEWS = {
    "video": PANORAMA,
    "viewpoints": dataclasses.replace(PANORAMA, windows=4),
    "audio": AudioView(channels=4),
}


def at_step(step: int | None, **keys):
    return build_objective("avsa", {"weight": 1.0, **keys}, 100, step)


def test_stages_read_one_viewpoint_and_then_several():
    first, second = (at_step(step, alignment_from_step=300) for step in (299, 300))
    assert {read.toward or read.view for read in first.reads()} == {"video"}
    assert {read.toward or read.view for read in second.reads()} == {"viewpoints"}
    whole = at_step(None, alignment_from_step=300)
    assert set(whole.reads()) == {*first.reads(), *second.reads()}


@pytest.mark.parametrize(
    ("name", "view", "said"),
    [
        ("video", VideoView(), "views.video.projection=sphere"),
        ("viewpoints", PANORAMA, "views.viewpoints.windows to 2"),
        ("audio", AudioView(), "views.audio.channels=4"),
    ],
)
def test_views_without_directions_are_refused(name, view, said):
    with pytest.raises(UsageError, match=said):
        at_step(None).views({**VIEWS, name: view})


def test_viewpoint_scores_are_cosines_between_the_viewpoints_of_a_clip():
    random = np.random.default_rng(0)
    each = jnp.asarray(random.standard_normal((5, 4, 6)), jnp.float32)
    names = ("video_each", "audio_each", "video_views", "audio_views", "video_guess", "audio_guess")
    scores = at_step(None).viewpoint_scores(dict.fromkeys(names, each))
    assert scores.keys() == {"contrast", "viewpoint"}
    for matrix in scores.values():
        assert matrix.shape == (5, 4, 4)
        np.testing.assert_allclose(np.diagonal(matrix, axis1=1, axis2=2), 1.0, rtol=1e-5)
        assert np.abs(matrix).max() <= 1 + 1e-5
