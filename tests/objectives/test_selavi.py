"""SeLaVi: the solves' labels, alignment, groups and schedule, and labels of a stream."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.objectives import build_objective
from avssl.objectives.base import Owned
from tests.objectives.clustered_clips import (
    NUM_RECORDS,
    NUM_ROWS,
    initialised,
    kept_features,
    one_step,
    seen,
)

HEADS, CLUSTERS = 4, 3
ROWS = np.arange(8)
KEYS = {
    "num_heads": HEADS, "num_clusters": CLUSTERS, "head_width": 8, "schedule_steps": 100,
    "num_solves": 4, "norm_warmup_steps": 5, "queue_rows": 12,
}  # fmt: skip


def objective(num_records=NUM_RECORDS, **keys):
    return build_objective("selavi", {**KEYS, **keys}, num_records)


def solved(one, variables, step=5, present=None):
    owned = Owned(variables["params"], variables["memory"], variables["batch_stats"])
    kept = {**kept_features(), "present": seen() if present is None else present}
    new = one.refresh(owned, kept, seen(), step, jax.random.key(step))
    return {**variables, "params": new.params, "memory": new.memory}


def test_clusters_are_equally_large_and_unseen_records_have_no_label():
    one = objective()
    memory = solved(one, initialised(one), present=seen() & (jnp.arange(NUM_ROWS) != 7))["memory"]
    labels = np.asarray(memory["labels"])
    assert labels.shape == (NUM_RECORDS, HEADS)
    assert np.all(labels[7] == -1)
    assert np.all(np.delete(labels, 7, axis=0) >= 0)
    for head in range(HEADS):
        sizes = np.bincount(np.delete(labels[:, head], 7), minlength=CLUSTERS)
        np.testing.assert_array_equal(memory["sizes"][head], sizes)
        # Of 41 rows; the plan is balanced to its tolerance, and each row goes to its largest share.
        assert sizes.max() <= 20
    assert np.all(np.asarray(memory["changed"]) == 1.0)


def test_the_first_solve_orders_the_audio_heads():
    """Audio heads that are video heads with their clusters renamed get the old names back."""
    one = objective()
    variables = initialised(one)
    params = dict(variables["params"])
    heads = params["video_heads"]
    # Large kernels, so that posteriors differ from cluster to cluster.
    sharp = {**heads, "linear2": jax.tree.map(lambda leaf: 5.0 * leaf, heads["linear2"])}
    order = np.array([2, 0, 1])
    mixed = jax.tree.map(lambda leaf: leaf[..., order], sharp["linear2"])
    params.update(video_heads=sharp, audio_heads={**sharp, "linear2": mixed})
    owned = Owned(params, variables["memory"], variables["batch_stats"])
    video = kept_features()["video"]
    kept = {"video": video, "audio": video, "present": seen()}
    new = one.refresh(owned, kept, seen(), 5, jax.random.key(0)).params
    for ours, theirs in zip(
        jax.tree.leaves(new["audio_heads"]), jax.tree.leaves(sharp), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert new["video_heads"] is sharp
    unaligned = objective(align=False).refresh(owned, kept, seen(), 5, jax.random.key(0))
    assert unaligned.params is owned.params


def test_groups_take_turns():
    one = objective()
    steps = one.solves()
    # Twice as many passes as solves, the first after the warm-up, denser at the start.
    assert steps[0] == 5
    assert len(steps) == 7
    assert np.all(np.diff(np.diff(steps)) >= -1)
    assert [step for step in range(101) if one.refresh_due(step)] == list(steps)
    assert one.heads_of_solve(0) == [0, 1, 2, 3]
    for turn in (1, 3, 5):
        both = one.heads_of_solve(turn) + one.heads_of_solve(turn + 1)
        assert sorted(both) == [0, 1, 2, 3]
        assert len(one.heads_of_solve(turn)) == 2
    first = solved(one, initialised(one))
    turned = {**first, "params": jax.tree.map(lambda leaf: leaf[..., ::-1], first["params"])}
    second = solved(one, turned, step=steps[1])
    for head in range(HEADS):
        same = np.array_equal(
            first["memory"]["labels"][:, head], second["memory"]["labels"][:, head]
        )
        assert same == (head not in one.heads_of_solve(1))


@pytest.mark.parametrize("as_drawn", [False, True])
def test_gaussian_marginals_are_drawn_once_and_kept(as_drawn):
    keys = {"marginals": "gaussian", "marginal_spread": 0.5}
    one = objective(**keys, sizes_as_drawn=as_drawn)
    variables = initialised(one)
    other = initialised(objective(**keys, sizes_as_drawn=not as_drawn))["memory"]["marginals"]
    assert np.abs(variables["memory"]["marginals"] - other).max() > 0.01
    before = np.asarray(variables["memory"]["marginals"])
    np.testing.assert_allclose(before.sum(axis=1), 1.0, rtol=1e-5)
    assert np.ptp(before, axis=1).min() > 0.01
    assert len({tuple(row) for row in before.tolist()}) == HEADS
    after = np.asarray(solved(one, variables)["memory"]["marginals"])
    np.testing.assert_array_equal(np.sort(after, axis=1), np.sort(before, axis=1))


def test_labels_are_of_both_modalities_and_come_from_memory():
    one = objective()
    variables = initialised(one)
    _, outcome, _ = one_step(one, variables, ROWS)
    assert float(outcome.loss) == 0.0
    _, outcome, memory = one_step(one, solved(one, variables), ROWS)
    assert 0.2 < float(outcome.loss) < 5.0
    assert np.all(np.asarray(memory["labels"]) >= 0)


def test_dropout_is_another_one_in_each_head_and_none_in_evaluation():
    one = objective(dropout=0.5)
    variables = initialised(one)
    same = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), variables["params"]["video_heads"]
    )
    variables = {**variables, "params": {**variables["params"], "video_heads": same}}
    for train in (True, False):
        outputs, _, _ = one_step(one, variables, ROWS, train=train)
        logits = np.asarray(outputs["video"]).reshape(8, HEADS, CLUSTERS)
        assert np.array_equal(logits[:, 0], logits[:, 1]) != train


def test_labels_of_both_are_those_of_the_product_of_their_posteriors():
    one = objective()
    shares = {"video": [0.5, 0.45, 0.05], "audio": [0.05, 0.45, 0.5]}
    outputs = {name: jnp.log(jnp.array([row * HEADS])) for name, row in shares.items()}
    named = {name: int(found[0]) for name, found in one.clusters(outputs).items()}
    assert named == {"video": 0, "audio": 2, "joint": 1}


def test_the_clusters_of_an_evaluation_are_of_the_head_that_costs_least():
    one = objective()
    variables = solved(one, initialised(one))
    cost = np.asarray(variables["memory"]["cost"])
    assert len(set(cost.tolist())) == HEADS
    outputs, _, _ = one_step(one, variables, ROWS, train=False)
    assert "head" not in one_step(one, variables, ROWS, train=True)[0]
    logits = np.asarray(outputs["video"]).reshape(len(ROWS), HEADS, CLUSTERS)
    named = logits[:, int(np.argmin(cost))].argmax(axis=1)
    np.testing.assert_array_equal(one.clusters(outputs)["video"], named)
    dearest = {**variables["memory"], "cost": -variables["memory"]["cost"]}
    outputs, _, _ = one_step(one, {**variables, "memory": dearest}, ROWS, train=False)
    assert set(outputs["head"].tolist()) == {int(np.argmax(cost))}


def test_a_stream_needs_no_records_and_fills_its_queue():
    one = objective(0, online=True, marginals="gaussian")
    variables = initialised(one)
    assert not any(one.refresh_due(step) for step in range(101))
    _, outcome, memory = one_step(one, variables, ROWS, train=False)
    assert not np.any(np.asarray(memory["queue"]["present"]))
    for step, filled in ((0, 8), (1, 12)):
        _, outcome, memory = one_step(one, variables, ROWS, step)
        variables = {**variables, "memory": memory}
        assert 0.0 < float(outcome.loss) < 10.0
        assert np.asarray(memory["queue"]["present"]).sum(axis=1).tolist() == [filled] * HEADS
    np.testing.assert_allclose(
        np.exp(memory["queue"]["log_posterior"][0, 0]), posterior_of(one, variables)[0], rtol=1e-5
    )


def posterior_of(one, variables):
    """The first head's product of posteriors, without dropout."""
    outputs, _, _ = one_step(one, variables, ROWS, train=False)
    video, audio = (
        jax.nn.softmax(outputs[name].reshape(8, HEADS, CLUSTERS)[:, 0]) for name in ("video", "audio")
    )  # fmt: skip
    return np.asarray(video * audio)


@pytest.mark.parametrize(
    ("records", "keys", "words"),
    [
        (2, {}, "data.num_records is 2"),
        (0, {}, "online=true"),
        (NUM_RECORDS, {"marginals": "gausian"}, "'gaussian'"),
        (NUM_RECORDS, {"num_groups": 5}, "num_groups"),
        (NUM_RECORDS, {"schedule_steps": 0}, "schedule_steps"),
        (0, {"online": True, "released_matching": True}, "released_matching"),
    ],
)
def test_refusals(records, keys, words):
    with pytest.raises(UsageError, match=words):
        initialised(objective(records, **keys))
