"""Minimising disagreement: codebooks that learn without a gradient, and classes that learn by one."""

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
    agree,
    classes,
    initialised,
    kept_features,
    one_step,
    seen,
)

ALL = np.arange(NUM_RECORDS)
KEYS = {"num_classes": NUM_CLASSES, "num_prototypes": 3, "decay_steps": 10}


def codebook(**keys):
    keys = {
        **KEYS,
        "form": "codebook",
        "labels_at_step": 2,
        "step_size": 0.05,
        "window": 0.5,
        **keys,
    }
    return build_objective("desa", keys, NUM_RECORDS)


def refreshed(one, variables, rows_seen=None):
    owned = Owned(variables.get("params", {}), variables["memory"])
    rows_seen = seen() if rows_seen is None else rows_seen
    new = one.refresh(
        owned, {**kept_features(), "present": seen()}, rows_seen, 2, jax.random.key(1)
    )
    return {**variables, "memory": new.memory}


def test_nothing_moves_before_there_are_labels():
    one = codebook()
    variables = initialised(one)
    _, outcome, memory = one_step(one, variables, ALL)
    assert float(outcome.loss) == 0.0
    assert float(outcome.metrics["disagreement"]) == 0.0
    assert all(not np.any(book["prototypes"]) for book in memory.values())
    assert [step for step in range(9) if one.refresh_due(step)] == [2]


def test_codebooks_learn_the_classes_without_a_gradient():
    one = codebook(normalise=False)
    variables = refreshed(one, initialised(one))
    for book in variables["memory"].values():
        assert book["prototypes"].shape == (12, 6)
        assert set(np.asarray(book["labels"]).tolist()) <= set(range(NUM_CLASSES))
    moved = []
    for step in range(2, 14):
        _, outcome, memory = one_step(one, variables, ALL, step)
        assert float(outcome.loss) == 0.0
        before, variables = variables, {**variables, "memory": memory}
        moved.append(
            not np.array_equal(
                before["memory"]["video_codebook"]["prototypes"],
                memory["video_codebook"]["prototypes"],
            )
        )
    # Step size and window are 0 from step 12 on.
    assert not any(moved[10:])
    outputs, outcome, memory = one_step(one, variables, ALL, 3, train=False)
    for name, found in one.clusters(outputs).items():
        pairs = set(zip(np.asarray(found).tolist(), classes().tolist(), strict=True))
        # Each class of clips has one name.
        assert len(pairs) == NUM_CLASSES, name
    assert float(outcome.metrics["disagreement"]) < 0.1
    for name, book in memory.items():
        np.testing.assert_array_equal(book["prototypes"], variables["memory"][name]["prototypes"])


def test_disagreeing_pairs_move_prototypes_in_training_only():
    one = codebook(normalise=False, window=100.0)
    variables = refreshed(one, initialised(one))
    # Labels that have nothing to do with where the prototypes lie.
    labels = jnp.arange(12, dtype=jnp.int32) % NUM_CLASSES
    books = {name: {**book, "labels": labels} for name, book in variables["memory"].items()}
    variables = {**variables, "memory": books}
    for train in (False, True):
        _, outcome, memory = one_step(one, variables, ALL, 2, train=train)
        assert float(outcome.metrics["disagreement"]) > 0.3
        same = np.array_equal(
            memory["video_codebook"]["prototypes"],
            variables["memory"]["video_codebook"]["prototypes"],
        )
        assert same != train


@pytest.mark.parametrize("unnormalised", [False, True])
def test_a_step_has_a_length_or_is_a_share_of_the_way(unnormalised):
    """Of one pair that disagrees: so each of the two nearest prototypes moves once."""
    one = codebook(normalise=False, window=100.0, unnormalised_step=unnormalised)
    variables = refreshed(one, initialised(one))
    labels = jnp.arange(12, dtype=jnp.int32) % NUM_CLASSES
    books = {name: {**book, "labels": labels} for name, book in variables["memory"].items()}
    video = kept_features()["video"]
    before = books["video_codebook"]["prototypes"]
    for clip in ALL:
        _, outcome, memory = one_step(one, {**variables, "memory": books}, ALL[clip : clip + 1], 2)
        if outcome.metrics["video_moved"] > 0:
            break
    moved = memory["video_codebook"]["prototypes"] - before
    lengths = jnp.linalg.norm(moved, axis=1)
    way = jnp.linalg.norm(video[clip][None] - before, axis=1)
    expected = 0.05 * jnp.where(lengths > 0, way if unnormalised else 1.0, 0.0)
    assert jnp.sum(lengths > 0) == 2
    np.testing.assert_allclose(lengths, expected, rtol=1e-4)


def test_no_gradient_reaches_the_features_of_codebooks():
    one = codebook()
    variables = refreshed(one, initialised(one))
    outputs, _, _ = one_step(one, variables, ALL)
    assert outputs.keys() == {"video_features", "audio_features"}
    video = kept_features()["video"][:4]

    def through(x):
        features = {one.video_read: Holder(x), one.audio_read: Holder(video)}
        heads = one.apply(variables, features, {}, train=True, method="heads")
        return jnp.sum(heads["video_features"] ** 2 * jnp.arange(1.0, 7.0)[None])

    assert not np.any(jax.grad(through)(video))


class Holder:
    def __init__(self, embedding):
        self.embedding = embedding


def test_the_gradient_form_names_the_classes_alike():
    one = build_objective("desa", {**KEYS, "projection": ()}, NUM_RECORDS)
    variables = initialised(one)
    assert "memory" not in variables
    assert not one.refresh_due(20)

    @jax.jit
    def update(params):
        loss, slope = jax.value_and_grad(lambda p: one_step(one, {"params": p}, ALL)[1].loss)(
            params
        )
        return loss, jax.tree.map(lambda p, g: p - 0.3 * g, params, slope)

    params, losses = variables["params"], []
    for _ in range(60):
        loss, params = update(params)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    outputs, outcome, _ = one_step(one, {"params": params}, ALL)
    assert float(outcome.metrics["disagreement"]) < 0.1
    found = one.clusters(outputs)
    for name in ("video", "audio"):
        assert agree(np.asarray(found[name]), classes())
    video, _ = one.joint(outputs)
    np.testing.assert_allclose(
        jnp.diagonal(one.similarity(outputs["video"], outputs["audio"])),
        one.row_similarity(outputs["video"], outputs["audio"]), rtol=1e-5,
    )  # fmt: skip
    np.testing.assert_allclose(video.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"form": "codebok"}, "'codebook'"),
        ({"num_classes": 1}, "2 classes"),
        ({"decay_steps": 0}, "decay_steps"),
    ],
)
def test_refusals(keys, words):
    with pytest.raises(UsageError, match=words):
        initialised(build_objective("desa", {**KEYS, **keys}, NUM_RECORDS))


def test_fewer_pairs_than_prototypes_are_refused():
    one = codebook()
    with pytest.raises(UsageError, match="12 prototypes"):
        refreshed(one, initialised(one), rows_seen=jnp.arange(48) < 5)
