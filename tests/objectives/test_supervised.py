"""Supervised: each modality learns, and is asked, by itself."""

import jax
import jax.numpy as jnp
import numpy as np

from avssl.data.views import AudioView, VideoView
from avssl.objectives import build_objective
from avssl.train.build_model import build_model
from avssl.train.step import complete_rows
from tests.train.small_runs import small_config

# Row 0 lacks the sound, row 1 the picture.
PRESENT = {"audio": jnp.arange(4) != 0, "video": jnp.arange(4) != 1}


def test_a_clip_without_sound_still_teaches_the_picture():
    objective = build_objective("supervised", {"num_classes": 3})
    assert objective.needed_views({"video": VideoView(), "audio": AudioView()}) == {}
    batch = {"label": jnp.array([0, 1, 2, 0]), "present": PRESENT}

    def loss(video, audio):
        outputs = {"video_logits": video, "audio_logits": audio}
        return objective.apply({}, outputs, batch, train=True).loss

    of_video, of_audio = jax.grad(loss, (0, 1))(jnp.zeros((4, 3)), jnp.zeros((4, 3)))
    for modality, gradient in (("video", of_video), ("audio", of_audio)):
        np.testing.assert_array_equal(np.any(gradient, axis=1), PRESENT[modality])
        np.testing.assert_array_equal(objective.can_say(batch, modality), PRESENT[modality])


def test_a_run_of_clips_without_sound_is_not_taken_for_one_that_learns_nothing():
    for objectives, expected in (
        (("supervised",), [True] * 4),
        (("supervised", "xid"), [False, False, True, True]),
    ):
        model = build_model(small_config(*objectives))
        assert complete_rows(model, PRESENT).tolist() == expected
