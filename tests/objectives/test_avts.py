"""AVTS: what each stage reads, and how easy and hard negatives weigh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.models.features import Features
from avssl.objectives import build_objective

VIEWS = {
    "video": VideoView(),
    "audio": AudioView(),
    "audio_shifted": AudioView(shift_seconds=(2.5, 8.0)),
    "audio_overlapping": AudioView(shift_seconds=(0.25, 0.75)),
}


def at_step(step: int, **keys):
    return build_objective("avts", {"weight": 1.0, **keys}, 100, step)


def test_the_shifted_sound_is_not_even_decoded_before_its_stage():
    easy, hard = at_step(399, hard_from_step=400), at_step(400, hard_from_step=400)
    assert "audio_shifted" not in easy.views(VIEWS)
    assert "audio_shifted" in hard.views(VIEWS)
    assert [read.view for read in easy.reads()] == ["video", "audio"]
    assert [read.view for read in hard.reads()] == ["video", "audio", "audio_shifted"]
    assert at_step(0).is_hard
    assert not at_step(10**9, hard_fraction=0.0).is_hard


def test_a_view_that_is_not_shifted_is_refused():
    with pytest.raises(UsageError, match="shift_seconds"):
        at_step(0).views({**VIEWS, "audio_shifted": AudioView()})


def test_hard_negatives_that_overlap_their_positives_are_refused():
    near = dataclasses.replace(VIEWS["audio_shifted"], shift_seconds=(1.9, 8.0))
    with pytest.raises(UsageError, match=r"set views\.audio_shifted\.shift_seconds to 2 s or more"):
        at_step(0).views({**VIEWS, "audio_shifted": near})
    assert "audio_shifted" not in at_step(399, hard_from_step=400).views(
        {**VIEWS, "audio_shifted": near}
    )


def test_hard_negatives_without_a_view_are_refused():
    with pytest.raises(UsageError, match=r"objectives\.avts .*: name it in shifted_view, or set h"):
        at_step(0, shifted_view="").views(VIEWS)
    assert list(at_step(0, shifted_view="", hard_fraction=0.0).views(VIEWS)) == ["video", "audio"]


def test_sounds_that_their_form_tells_apart_are_refused():
    longer = dataclasses.replace(VIEWS["audio"], seconds=3.0)
    with pytest.raises(
        UsageError, match=r"alike: set views\.audio_shifted\.seconds=3\.0, it is 2\.0"
    ):
        at_step(0).views({**VIEWS, "audio": longer})
    with pytest.raises(UsageError, match=r"set views\.audio_overlapping\.modality=audio"):
        at_step(0, super_hard_view="audio_overlapping").views(
            {**VIEWS, "audio_overlapping": VideoView(shift_seconds=(0.25, 0.75))}
        )


def test_super_hard_negatives_come_with_the_hard_ones_from_a_view_of_their_own():
    keys = {"super_hard_view": "audio_overlapping", "hard_from_step": 400}
    early, late = at_step(399, **keys), at_step(400, **keys)
    assert list(early.views(VIEWS)) == ["video", "audio"]
    assert list(late.views(VIEWS)) == list(VIEWS)
    assert [read.view for read in late.reads()] == list(VIEWS)
    with pytest.raises(UsageError, match="did you mean 'audio_overlapping'"):
        at_step(0, super_hard_view="audio_overlaping").views(VIEWS)
    with pytest.raises(UsageError, match=r"views\.audio_overlapping\.shift_seconds"):
        at_step(400, **keys).views({**VIEWS, "audio_overlapping": AudioView()})


def batch_of(size: int):
    present = jnp.ones(size, bool)
    return {
        "index": jnp.arange(size),
        "row": jnp.arange(size),
        "step": jnp.zeros((), jnp.int32),
        "present": dict.fromkeys(VIEWS, present),
    }


def loss_of(outputs, batch, step=10, **keys):
    objective = at_step(step, margin=1.0, **keys)
    return objective.apply(
        {"params": {}}, outputs, batch, train=True, rngs={"draw": jax.random.key(0)}
    )


def test_half_of_the_weight_is_on_positives_and_the_rest_is_shared():
    """Positives at distance 0, easy negatives beyond the margin, hard ones on the picture itself."""
    video = jnp.eye(4, 8)
    outputs = {"video": video, "audio": video, "shifted": video + 1e-3 * jnp.eye(4, 8, 4)}
    outcome = loss_of(outputs, batch_of(4))
    # (1/2) 0 + (1/4) 0 + (1/4) (1 - 0)^2, as a hard negative lies at no distance.
    np.testing.assert_allclose(outcome.loss, 0.25, atol=2e-3)
    np.testing.assert_allclose(outcome.metrics["in_sync_top1"], 1.0)
    np.testing.assert_allclose(
        loss_of(outputs, batch_of(4), hard_fraction=1.0).loss, 0.5, atol=2e-3
    )
    easy = {name: outputs[name] for name in ("video", "audio")}
    np.testing.assert_allclose(loss_of(easy, batch_of(4), hard_fraction=0.0).loss, 0.0, atol=1e-6)


def test_super_hard_negatives_take_half_of_the_share_of_the_hard_ones():
    """Easy and hard negatives lie beyond the margin, super-hard ones on the picture itself."""
    video = jnp.eye(4, 8)
    near, far = video + 1e-3 * jnp.eye(4, 8, 4), -video
    outputs = {"video": video, "audio": video, "shifted": far, "super_hard": near}
    keys = {"super_hard_view": "audio_overlapping", "hard_fraction": 0.5}
    outcome = loss_of(outputs, batch_of(4), **keys)
    np.testing.assert_allclose(outcome.loss, 0.125, atol=1e-3)
    assert outcome.metrics["num_negatives"] == 12
    assert outcome.metrics["in_sync_top1"] == 1.0


def test_without_unit_length_nearness_is_the_distance_of_the_loss():
    """The sound of the moment lies near and askew, the shifted one in the same direction and far away."""
    video = jnp.eye(4, 8)
    outputs = {"video": video, "audio": video + 0.5 * jnp.eye(4, 8, 4), "shifted": 9 * video}
    for normalise, in_sync in ((False, 1.0), (True, 0.0)):
        outcome = loss_of(outputs, batch_of(4), normalise=normalise)
        assert outcome.metrics["in_sync_top1"] == in_sync
    objective = at_step(0, normalise=False)
    between = objective.similarity(video, outputs["audio"])
    expected = -np.linalg.norm(video[:, None] - outputs["audio"][None], axis=2)
    np.testing.assert_allclose(between, expected, rtol=1e-5)
    rows = objective.row_similarity(video, outputs["audio"])
    np.testing.assert_allclose(rows, np.diagonal(expected), rtol=1e-5)


def test_all_other_sounds_share_the_weight_of_one():
    """One sound lies on all pictures, so one easy negative of three is at no distance."""
    video = jnp.tile(jnp.eye(1, 8), (4, 1))
    outputs = {"video": video, "audio": video.at[1:].multiply(-1)}
    outcome = loss_of(outputs, batch_of(4), hard_fraction=0.0, all_negatives=True)
    # Matches: three of four at distance 2. Mismatches: three of twelve at distance 0.
    np.testing.assert_allclose(outcome.loss, (3 / 4 * 4.0 + 3 / 12 * 1.0) / 2, atol=2e-3)
    assert outcome.metrics["num_negatives"] == 12


def test_rows_without_room_for_a_shift_have_no_hard_negative():
    video = jnp.eye(4, 8)
    outputs = {"video": video, "audio": video, "shifted": video}
    batch = batch_of(4)
    batch["present"]["audio_shifted"] = jnp.zeros(4, bool)
    outcome = loss_of(outputs, batch)
    np.testing.assert_allclose(outcome.loss, 0.0, atol=1e-6)
    assert outcome.metrics["num_negatives"] == 4


def features_of(video_moments: int, audio_moments: int):
    """Maps [4, moments, 2, 2, 3] and [4, moments, 5, 3] in which each moment has a brightest place."""
    generator = np.random.default_rng(0)
    objective = at_step(0, by_moment=True)
    video = jnp.asarray(generator.normal(size=(4, video_moments, 2, 2, 3)), jnp.float32)
    audio = jnp.asarray(generator.normal(size=(4, audio_moments, 5, 3)), jnp.float32)
    maps = {"video": video, "audio": audio, "audio_shifted": audio[:, ::-1]}
    return {read: Features(embedding=None, map=maps[read.view]) for read in objective.reads()}


def heads_by_moment(**keys):
    """The objective, what it was made of, and its outputs for features of eight moments."""
    objective = at_step(0, by_moment=True, projection=(6,), **keys)
    features, batch = features_of(8, 8), batch_of(4)
    made = objective.init(jax.random.key(0), features, batch, method="initialise")
    outputs, _ = objective.apply(
        made, features, batch, train=True, method="heads", mutable=["batch_stats"]
    )
    return objective, features, made, outputs


def test_by_moment_compares_what_moments_share_and_how_they_differ():
    objective, features, made, outputs = heads_by_moment()
    weights = made["params"]["audio_head"]["linear1"]
    brightest = np.asarray(features[objective.audio_read].map).max(axis=2)
    moments = brightest @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])
    shared = moments.mean(axis=1)
    np.testing.assert_allclose(outputs["audio"][:, :6], 8**0.5 * shared, atol=1e-5)
    beyond = (moments - shared[:, None]).reshape(4, -1)
    np.testing.assert_allclose(outputs["audio"][:, 6:], beyond, atol=1e-5)
    # Moments in another order share the same, and differ.
    np.testing.assert_allclose(outputs["shifted"][:, :6], outputs["audio"][:, :6], atol=1e-5)
    assert np.abs(outputs["shifted"] - outputs["audio"]).max() > 0.1


def test_normalised_parts_are_equally_large():
    *_, outputs = heads_by_moment(norm_heads=True)
    for output in outputs.values():
        sizes = np.mean(np.square(output[:, :6])), 8 * np.mean(np.square(output[:, 6:]))
        np.testing.assert_allclose(sizes, 8.0, rtol=1e-2)  # but for the epsilon of the norms


def test_by_moment_needs_as_many_moments_on_both_sides():
    objective = at_step(0, by_moment=True)
    with pytest.raises(UsageError, match="video has 8 moments, that of the audio 7"):
        objective.init(jax.random.key(0), features_of(8, 7), batch_of(4), method="initialise")
