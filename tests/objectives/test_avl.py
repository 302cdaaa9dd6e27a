"""AVL: EZ-VSL's loss and the hints of both teachers, each on the rows that have it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.losses.teacher_hints import hinted_localization_loss, object_response
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.model import without_views

ROWS, HEIGHT, WIDTH, CHANNELS, HEARD = 8, 3, 4, 5, 7
PROJECTED = 6
NO_PICTURE, NO_SOUND, UNHEARD, UNSEEN, NOTHING_SEEN = 1, 2, 3, 4, 5
WEIGHTS = {"sound_weight": 10.0, "object_weight": 1000.0}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


FEATURES = drawn(ROWS, 1, HEIGHT, WIDTH, CHANNELS), drawn(ROWS, HEARD, seed=1)


def batch_of(width=PROJECTED, complete=False):
    """One row lacks its picture, one its sound, and each teacher is silent of a row of its own."""
    rows = jnp.arange(ROWS)

    def all_but(row):
        return jnp.ones(ROWS, bool) if complete else rows != row

    teacher_map = drawn(ROWS, 1, 2, 3, 4, seed=6)
    return {
        "index": rows,
        "present": {"video": all_but(NO_PICTURE), "audio": all_but(NO_SOUND)},
        "taught": {"sound": all_but(UNHEARD), "objects": all_but(UNSEEN)},
        "targets": {
            "sound": {"embedding": jnp.abs(drawn(ROWS, width, seed=5))},
            "objects": {"map": teacher_map if complete else teacher_map.at[NOTHING_SEEN].set(0.0)},
        },
    }


def made(**keys):
    return build_objective("avl", {"channels": PROJECTED, **WEIGHTS, **keys})


def features_of(objective, video_map, audio):
    return {
        objective.video_read: Features(jnp.zeros((ROWS, 1)), video_map),
        objective.audio_read: Features(audio),
    }


def started(objective, batch):
    features = features_of(objective, *FEATURES)

    @jax.jit
    def make(key):
        return objective.init(key, features, batch, method="initialise")

    return make(jax.random.key(0))


def run(objective, variables, batch, video_map, audio):
    """(loss, (metrics, outputs of the heads)), with what crosses the seam alone."""

    @jax.jit
    def compiled(batch, video_map, audio):
        features = features_of(objective, video_map, audio)
        outputs = objective.apply(variables, features, batch, train=True, method="heads")
        outcome = objective.apply(variables, outputs, without_views(batch), train=True)
        return outcome.loss, (outcome.metrics, outputs)

    return compiled(batch, video_map, audio)


@pytest.mark.parametrize("normalise_teacher", [False, True])
def test_of_complete_clips_it_is_the_released_loss(normalise_teacher):
    objective = made(normalise_teacher=normalise_teacher)
    batch = batch_of(complete=True)
    variables = started(objective, batch)
    loss, (metrics, outputs) = run(objective, variables, batch, *FEATURES)
    expected, expected_metrics = hinted_localization_loss(
        outputs["video"].reshape(ROWS, HEIGHT, WIDTH, PROJECTED),
        outputs["audio"],
        sound_teacher=batch["targets"]["sound"]["embedding"],
        object_teacher=object_response(batch["targets"]["objects"]["map"])[0],
        normalise_teacher=normalise_teacher,
        index=batch["index"],
        present=jnp.ones(ROWS, bool),
        **WEIGHTS,
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert metrics.keys() == expected_metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(value, expected_metrics[name], rtol=1e-5, err_msg=name)


def test_each_hint_counts_where_student_and_teacher_are_both_there():
    objective, batch = made(), batch_of()
    variables = started(objective, batch)
    _, (metrics, outputs) = run(objective, variables, batch, *FEATURES)
    assert metrics["num_pairs"] == ROWS - 2
    assert metrics["num_sound_hints"] == ROWS - 2
    # Nor where the teacher saw nothing.
    assert metrics["num_object_hints"] == ROWS - 3
    assert outputs["object_losses"].shape == (ROWS,)
    hinted = np.flatnonzero(outputs["object_hinted"])
    assert set(hinted) == set(range(ROWS)) - {NO_PICTURE, UNSEEN, NOTHING_SEEN}
    np.testing.assert_allclose(
        metrics["object_hint_loss"], np.mean(outputs["object_losses"][hinted]), rtol=1e-5
    )

    def hints(video_map, audio):
        metrics = run(objective, variables, batch, video_map, audio)[1][0]
        return metrics["sound_hint_loss"] + metrics["object_hint_loss"]

    of_video, of_audio = jax.jit(jax.grad(hints, (0, 1)))(*FEATURES)
    learns = [np.flatnonzero(np.any(x.reshape(ROWS, -1), axis=1)) for x in (of_video, of_audio)]
    assert set(learns[0]) == set(hinted)
    assert set(learns[1]) == set(range(ROWS)) - {NO_SOUND, UNHEARD}


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({}, set()),
        ({"sound_teacher": ""}, {"video"}),
        ({"sound_weight": 0.0}, {"video"}),
        ({"object_teacher": ""}, {"audio"}),
        ({"object_teacher": "", "sound_weight": 0.0}, {"video", "audio"}),
    ],
)
def test_a_clip_needs_what_it_can_learn_from(keys, needed):
    views = {"video": VideoView(), "audio": AudioView()}
    assert made(**keys).needed_views(views).keys() == needed


def test_what_objects_say_may_be_scaled_to_fewer_channels():
    batch = batch_of()
    # A map of one channel is taken as it is.
    response = jnp.abs(batch["targets"]["objects"]["map"][..., :1])
    variables = started(made(), batch)

    def loss(response, **keys):
        said = {**batch["targets"], "objects": {"map": response}}
        return run(made(**keys), variables, {**batch, "targets": said}, *FEATURES)[0]

    np.testing.assert_allclose(loss(response, object_scale=2.0), loss(2.0 * response), rtol=1e-6)
    assert loss(response) != loss(2.0 * response)


def test_nobody_taught_is_ez_vsl():
    objective, batch = made(), batch_of()
    batch["taught"] = dict.fromkeys(("sound", "objects"), jnp.zeros(ROWS, bool))
    variables = started(objective, batch)
    loss, (metrics, outputs) = run(objective, variables, batch, *FEATURES)
    plain = build_objective("ez_vsl", {"channels": PROJECTED})
    expected = plain.apply(variables, outputs, batch, train=True).loss
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert metrics["sound_hint_loss"] == metrics["object_hint_loss"] == 0.0


def test_no_gradient_reaches_the_teachers():
    objective, batch = made(), batch_of()
    variables = started(objective, batch)
    gradient = jax.jit(
        jax.grad(lambda said: run(objective, variables, {**batch, "targets": said}, *FEATURES)[0])
    )(batch["targets"])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("left", ["sound", "objects"])
def test_one_teacher_is_enough(left):
    other = {"sound": "object_teacher", "objects": "sound_teacher"}[left]
    objective, batch = made(**{other: ""}), batch_of()
    assert [target.teacher for target in objective.targets()] == [left]
    batch["targets"] = {left: batch["targets"][left]}
    batch["taught"] = {left: batch["taught"][left]}
    loss, (metrics, _) = run(objective, started(objective, batch), batch, *FEATURES)
    name, weight = ("sound", 10.0) if left == "sound" else ("object", 1000.0)
    hint = metrics[f"{name}_hint_loss"]
    np.testing.assert_allclose(loss, metrics["localization_loss"] + weight * hint, rtol=1e-5)
    assert hint > 0


def test_what_cannot_teach_is_refused():
    with pytest.raises(UsageError, match=r"avl needs a teacher: .* ez_vsl"):
        made(sound_teacher="", object_teacher="").targets()
    with pytest.raises(
        UsageError, match=r"have 9 numbers .* have 6: set objectives\.avl\.channels=9"
    ):
        started(made(), batch_of(width=9))


def test_evaluation_needs_no_teacher():
    """As `Model.complete` gives it: silence of both."""
    objective, batch = made(), batch_of()
    variables = started(objective, batch)
    silent = jax.tree.map(jnp.zeros_like, batch["targets"])
    features = features_of(objective, *FEATURES)
    outputs, without = (
        objective.apply(variables, features, one, train=False, method="heads")
        for one in (batch, {**batch, "targets": silent})
    )
    for name in ("video", "audio", "video_map"):
        np.testing.assert_array_equal(outputs[name], without[name])
