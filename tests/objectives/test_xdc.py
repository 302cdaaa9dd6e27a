"""XDC: what a clustering leaves in memory and in the classifiers, and who teaches whom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.objectives import build_objective
from avssl.objectives.base import Owned
from tests.objectives.clustered_clips import (
    NUM_CLASSES,
    NUM_RECORDS,
    NUM_ROWS,
    agree,
    classes,
    initialised,
    kept_features,
    one_step,
    seen,
)

ROWS = np.arange(8)
NAMES = {
    "xdc": {"video_from_audio", "audio_from_video"},
    "sdc": {"video_from_video", "audio_from_audio"},
    "mdc": {"video_from_audio", "audio_from_video", "video_from_video", "audio_from_audio"},
    "cdc": {"video_from_joint", "audio_from_joint"},
}


def objective(num_records=NUM_RECORDS, **keys):
    return build_objective("xdc", {"num_clusters": NUM_CLASSES, **keys}, num_records)


def everywhere(**present):
    kept = kept_features()
    there = {"video_present": seen(), "audio_present": seen(), **present}
    return {**kept, **there}


def refreshed(one, variables, step=20, kept=None, rows_seen=None):
    owned = Owned(variables["params"], variables["memory"])
    rows_seen = seen() if rows_seen is None else rows_seen
    key = jax.random.fold_in(jax.random.key(7), step)
    new = one.refresh(owned, kept or everywhere(), rows_seen, step, key)
    return {**variables, "params": new.params, "memory": new.memory}


@pytest.mark.parametrize("variant", NAMES)
def test_labels_are_the_classes_and_each_head_learns_those_of_its_teacher(variant):
    one = objective(variant=variant)
    after = refreshed(one, initialised(one))
    assert after["params"].keys() == {f"predict_{name}" for name in NAMES[variant]}
    teachers = {name.split("_")[-1] for name in NAMES[variant]}
    for teacher in teachers:
        labels = np.asarray(after["memory"][f"{teacher}_labels"])
        assert agree(labels, classes())
        np.testing.assert_array_equal(
            after["memory"][f"{teacher}_sizes"], np.bincount(labels, minlength=NUM_CLASSES)
        )
    outputs, outcome, _ = one_step(one, after, ROWS)
    assert outputs.keys() == NAMES[variant]
    # Classifiers begin undecided: each of the losses is the logarithm of the number of clusters.
    expected = len(NAMES[variant]) * np.log(NUM_CLASSES)
    np.testing.assert_allclose(outcome.loss, expected, rtol=0.1)
    assert {name: x.shape for name, x in one.clusters(outputs).items()} == {
        "video": (8,), "audio": (8,),
    }  # fmt: skip


def test_targets_are_crossed():
    one = objective(balanced=False)
    variables = initialised(one)
    memory = dict(variables["memory"])
    memory["video_labels"] = jnp.zeros(NUM_RECORDS, jnp.int32)
    _, outcome, _ = one_step(one, {**variables, "memory": memory}, ROWS)
    of_video, of_audio = (
        float(outcome.metrics[f"{name}_accuracy"]) for name in ("video_from_audio", "audio_from_video")
    )  # fmt: skip
    # Only the audio has targets: the video's own labels.
    assert of_video == 0.0
    assert outcome.loss > 0.0
    grads = jax.grad(
        lambda params: one_step(one, {"params": params, "memory": memory}, ROWS)[1].loss
    )(variables["params"])
    assert float(jnp.abs(grads["predict_audio_from_video"]["kernel"]).max()) > 0.0
    assert float(jnp.abs(grads["predict_video_from_audio"]["kernel"]).max()) == 0.0
    assert 0.0 <= of_audio <= 1.0


def test_without_labels_there_is_nothing_to_learn():
    one = objective()
    _, outcome, memory = one_step(one, initialised(one), ROWS)
    assert float(outcome.loss) == 0.0
    assert set(np.asarray(memory["video_labels"]).tolist()) == {-1}
    assert all(np.isfinite(value) for value in outcome.metrics.values())


def test_records_without_a_modality_or_not_met_have_no_label_of_it():
    one = objective()
    rows = jnp.arange(NUM_ROWS)
    kept = everywhere(audio_present=seen() & (rows != 3))
    memory = refreshed(one, initialised(one), kept=kept, rows_seen=seen() & (rows != 5))["memory"]
    assert np.flatnonzero(np.asarray(memory["video_labels"]) < 0).tolist() == [5]
    assert np.flatnonzero(np.asarray(memory["audio_labels"]) < 0).tolist() == [3, 5]


def test_reset_draws_new_classifiers_and_match_keeps_them_and_the_names():
    for classifiers in ("reset", "match"):
        one = objective(classifiers=classifiers)
        first = refreshed(one, initialised(one))
        assert float(first["memory"]["video_changed"]) == 1.0
        second = refreshed(one, first, step=40)
        assert float(second["memory"]["video_changed"]) == 0.0
        same = jax.tree.map(lambda a, b: a is b, first["params"], second["params"])
        assert all(jax.tree.leaves(same)) == (classifiers == "match")
        if classifiers == "match":
            for name in ("video_labels", "video_sizes", "audio_labels"):
                np.testing.assert_array_equal(first["memory"][name], second["memory"][name])
        else:
            moved = jax.tree.leaves(
                jax.tree.map(jnp.array_equal, first["params"], second["params"])
            )
            assert not all(moved)


def test_equal_features_make_one_cluster_and_no_nan():
    one = objective()
    same = {**everywhere(), "video": jnp.ones((NUM_ROWS, 6)), "audio": jnp.zeros((NUM_ROWS, 6))}
    after = refreshed(one, initialised(one), kept=same)
    _, outcome, _ = one_step(one, after, ROWS)
    assert np.isfinite(outcome.loss)
    for name in ("video", "audio"):
        assert float(outcome.metrics[f"{name}_num_clusters"]) == 1.0
        assert float(outcome.metrics[f"{name}_largest_cluster"]) == 1.0


def test_when_it_clusters():
    one = objective(refresh_every_steps=50, norm_warmup_steps=20)
    assert [step for step in range(130) if one.refresh_due(step)] == [20, 70, 120]


@pytest.mark.parametrize(
    ("records", "keys", "words"),
    [
        (3, {}, "data.num_records is 3"),
        (0, {}, "data.num_records is 0"),
        (NUM_RECORDS, {"variant": "xcd"}, "'xdc'"),
        (NUM_RECORDS, {"classifiers": "rest"}, "'reset'"),
        (NUM_RECORDS, {"refresh_every_steps": 0}, "refresh_every_steps"),
    ],
)
def test_refusals(records, keys, words):
    with pytest.raises(UsageError, match=words):
        initialised(objective(records, **keys))


def test_fewer_readable_records_than_clusters_are_refused():
    one = objective()
    with pytest.raises(UsageError, match="4 clusters of the 3 records"):
        refreshed(one, initialised(one), rows_seen=jnp.arange(NUM_ROWS) < 3)


def test_lengths_of_features_count_unless_they_are_normalised():
    """A class in two halves, one of them far longer than all else."""
    lengths = jnp.where((jnp.arange(NUM_ROWS) // NUM_CLASSES) % 2 == 0, 1.0, 30.0)[:, None]
    features = {name: kept_features()[name] * lengths for name in ("video", "audio")}
    for normalise in (True, False):
        one = objective(normalise=normalise)
        memory = refreshed(one, initialised(one), kept=everywhere(**features))["memory"]
        assert agree(np.asarray(memory["video_labels"]), classes()) == normalise


def test_balanced_clusters_count_alike():
    """Of eight rows one is in a cluster that all other records are not in."""
    labels = jnp.zeros(NUM_RECORDS, jnp.int32).at[0].set(1)
    sizes = jnp.array([NUM_RECORDS - 1, 1, 0, 0], jnp.int32)
    for balanced in (True, False):
        one = objective(balanced=balanced, variant="sdc")
        variables = initialised(one)
        params = jax.tree.map(lambda leaf: 100 * leaf, variables["params"])
        memory = {**variables["memory"], "video_labels": labels, "video_sizes": sizes}
        outputs, outcome, _ = one_step(one, {"params": params, "memory": memory}, ROWS)
        each = -jax.nn.log_softmax(outputs["video_from_video"])[jnp.arange(8), labels[ROWS]]
        weights = np.where(np.arange(8) == 0, NUM_RECORDS - 1, 1) if balanced else np.ones(8)
        np.testing.assert_allclose(outcome.loss, np.average(each, weights=weights), rtol=1e-5)
