"""Robust cross-modal discrimination against loops in numpy, one candidate at a time."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.contrastive import symmetric_info_nce
from avssl.losses.robust import (
    ESTIMATORS,
    LEAST_DEVIATION,
    agreement,
    agreement_weights,
    initial_statistics,
    robust_cross_modal_loss,
    rows_and_candidates,
    soft_targets,
    update_statistics,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
INDEX = np.array([4, 7, 4, 1, 9, 7])
PRESENT = np.array([1, 1, 1, 0, 1, 1], bool)
QUEUE_INDEX = np.array([7, 3, 3, 8, 1])
QUEUE_PRESENT = np.array([1, 1, 1, 0, 1], bool)
SIDES = ("video", "audio", "video_target", "audio_target")
TEMPERATURE, SOFT_TEMPERATURE, OWN_TEMPERATURE, SOFTNESS = 0.3, 0.2, 0.5, 0.4

update = jax.jit(update_statistics, static_argnames="momentum")
weigh = jax.jit(agreement_weights, static_argnames=("shift", "kappa", "least_weight", "floor"))


@functools.partial(jax.jit, static_argnames="estimator")
def estimate(video_target, audio_target, *, index, present, queue=None, **options):
    both = rows_and_candidates(
        video_target, audio_target, index=index, present=present, queue=queue
    )
    return soft_targets(*both, **options)


@functools.partial(jax.jit, static_argnames="blocks")
def loss_of(video, audio, video_target, audio_target, *, soft=None, **options):
    """soft: the arrays that it is to use."""
    given = None if soft is None else lambda rows, _: tuple(s[rows["place"]] for s in soft)
    return robust_cross_modal_loss(video, audio, video_target, audio_target, soft=given, **options)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embeddings(num: int = 6, dim: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {side: random.standard_normal((num, dim)) for side in SIDES}


def queued(num: int = 5, dim: int = 5) -> dict[str, np.ndarray]:
    rows = embeddings(num, dim, seed=1)
    # What a slot that was never filled holds must not matter.
    rows["audio"][~QUEUE_PRESENT] = np.nan
    return {
        "video": rows["video"],
        "audio": rows["audio"],
        "index": QUEUE_INDEX,
        "present": QUEUE_PRESENT,
    }


def on_device(tree):
    def put(array):
        return jnp.asarray(array, jnp.int32) if array.dtype.kind == "i" else jnp.asarray(array)

    return jax.tree.map(put, tree)


def masks(index=INDEX, present=PRESENT, queue=None) -> dict:
    return on_device({"index": index, "present": present} | ({"queue": queue} if queue else {}))


def naive_columns(i, index, present, queue):
    """The candidates of row i, as columns of batch and queue."""
    all_index = np.concatenate([index, queue["index"]]) if queue else index
    all_present = np.concatenate([present, queue["present"]]) if queue else present
    return [
        j
        for j in range(len(all_index))
        if j == i or (present[i] and all_present[j] and all_index[j] != index[i])
    ]


def naive_targets(rows, queue):
    return {
        side: unit(np.concatenate([rows[f"{side}_target"], queue[side]]))
        if queue
        else unit(rows[f"{side}_target"])
        for side in ("video", "audio")
    }


def naive_logit(estimator, this, that, i, j):
    match estimator:
        case "bootstrapped":
            return this[i] @ that[j] / SOFT_TEMPERATURE
        case "swapped":
            return that[i] @ this[j] / SOFT_TEMPERATURE
        case "neighbour":
            return this[i] @ this[j] / SOFT_TEMPERATURE
        case "cycle":
            own = this[i] @ that[i] + this[j] @ that[j]
            return own / OWN_TEMPERATURE + that[i] @ this[j] / SOFT_TEMPERATURE


def naive_soft(rows, estimator, index, present, queue=None):
    """(S_v, S_a), zero where a column is no candidate."""
    targets = naive_targets(rows, queue)
    result = []
    for own, other in (("video", "audio"), ("audio", "video")):
        this, that = targets[own], targets[other]
        soft = np.zeros((len(index), len(this)))
        for i in range(len(index)):
            columns = naive_columns(i, index, present, queue)
            logits = [naive_logit(estimator, this, that, i, j) for j in columns]
            soft[i, columns] = np.exp(logits) / np.exp(logits).sum()
        result.append(soft)
    return result


def naive_loss(rows, weights, soft, index, present, queue=None):
    targets = naive_targets(rows, queue)
    total = 0.0
    for i in np.flatnonzero(present):
        columns = naive_columns(i, index, present, queue)
        for side, other, estimate in (("video", "audio", soft[0]), ("audio", "video", soft[1])):
            logits = targets[other][columns] @ unit(rows[side])[i] / TEMPERATURE
            log_probability = logits - np.log(np.exp(logits).sum())
            target = SOFTNESS * estimate[i, columns] + (1 - SOFTNESS) * (np.array(columns) == i)
            total -= weights[i] * (target * log_probability).sum()
    return total / weights[present].sum()


def test_statistics_are_those_of_all_pairs_with_fading_weights():
    random = np.random.default_rng(0)
    batches = [(random.normal(0.1 * t, 0.2, 6), random.random(6) > 0.3) for t in range(8)]
    statistics = initial_statistics()
    for score, present in batches:
        score = np.where(present, score, np.nan).astype(np.float32)
        statistics = update(statistics, jnp.asarray(score), present=present, momentum=0.8)
    scores = np.concatenate([score[present] for score, present in batches])
    fading = np.concatenate([np.full(p.sum(), 0.8 ** (7 - t)) for t, (_, p) in enumerate(batches)])
    mean = np.average(scores, weights=fading)
    deviation = np.sqrt(np.average((scores - mean) ** 2, weights=fading))
    np.testing.assert_allclose(statistics["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(statistics["deviation"], deviation, rtol=1e-5)

    nobody = update(statistics, jnp.full(6, jnp.nan), present=np.zeros(6, bool), momentum=0.8)
    jax.tree.map(np.testing.assert_array_equal, nobody, statistics)


@pytest.mark.parametrize("momentum", [0.99, 1.0])
def test_no_pairs_at_all_leave_finite_statistics(momentum):
    statistics = initial_statistics()
    for present in (np.zeros(6, bool), np.ones(6, bool)):
        statistics = update(statistics, jnp.full(6, 0.5), present=present, momentum=momentum)
        assert all(np.isfinite(value) for value in statistics.values())


def test_equal_agreements_trust_all_pairs_alike():
    score = jnp.full(6, 0.7)
    statistics = update(initial_statistics(), score, present=np.ones(6, bool))
    np.testing.assert_allclose(statistics["deviation"], LEAST_DEVIATION, rtol=1e-6)
    for deviation in (statistics["deviation"], 0.0):
        weights = weigh(score, mean=statistics["mean"], deviation=deviation)
        np.testing.assert_allclose(weights, 0.5, atol=1e-3)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("floor", ["clip", "affine"])
def test_weights_equal_the_normal_distribution_function(floor):
    score = np.linspace(-1, 1, 9)
    weights = weigh(
        jnp.asarray(score),
        mean=0.2,
        deviation=0.3,
        shift=-0.5,
        kappa=0.7,
        least_weight=0.1,
        floor=floor,
    )
    for found, value in zip(weights, score, strict=True):
        distance = (value - (0.2 - 0.5 * 0.3)) / (math.sqrt(0.7) * 0.3)
        trust = 0.5 * (1 + math.erf(distance / math.sqrt(2)))
        expected = max(trust, 0.1) if floor == "clip" else 0.1 + 0.9 * trust
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_faulty_pairs_weigh_less():
    random = np.random.default_rng(0)
    video = random.standard_normal((100, 16)).astype(np.float32)
    audio = (video + 0.8 * random.standard_normal((100, 16))).astype(np.float32)
    audio[:40] = np.roll(audio[:40], 1, axis=0)
    present = np.ones(100, bool)
    score = agreement(jnp.asarray(video), jnp.asarray(audio), present=jnp.asarray(present))
    statistics = update(initial_statistics(), score, present=present)
    weights = weigh(score, mean=statistics["mean"], deviation=statistics["deviation"])
    assert np.mean(weights[:40]) < 0.35
    assert np.mean(weights[40:]) > 0.75


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("with_queue", [False, True], ids=["batch", "queue"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_soft_targets_and_loss_equal_loops(estimator, with_queue):
    rows, queue = embeddings(), queued() if with_queue else None
    weights = np.linspace(0.3, 1, 6)
    soft = estimate(
        *on_device([rows["video_target"], rows["audio_target"]]),
        estimator=estimator,
        temperature=SOFT_TEMPERATURE,
        own_temperature=OWN_TEMPERATURE,
        **masks(queue=queue),
    )
    expected = naive_soft(rows, estimator, INDEX, PRESENT, queue)
    for found, values in zip(soft, expected, strict=True):
        np.testing.assert_allclose(found, values, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)

    loss, metrics = loss_of(
        **on_device(rows),
        temperature=TEMPERATURE,
        weights=jnp.asarray(weights),
        soft=soft,
        softness=SOFTNESS,
        **masks(queue=queue),
    )
    naive = naive_loss(rows, weights, expected, INDEX, PRESENT, queue)
    np.testing.assert_allclose(loss, naive, rtol=1e-12)
    own = [s[i, i] for s in expected for i in np.flatnonzero(PRESENT)]
    np.testing.assert_allclose(metrics["own_target"], 1 - SOFTNESS + SOFTNESS * np.mean(own))
    np.testing.assert_allclose(metrics["weight"], weights[PRESENT].mean())
    assert int(metrics["num_pairs"]) == PRESENT.sum()


@pytest.mark.usefixtures("float64")
def test_without_weights_and_targets_it_is_twice_info_nce_against_targets():
    rows = embeddings()
    rows["video_target"], rows["audio_target"] = rows["video"], rows["audio"]
    expected, expected_metrics = symmetric_info_nce(
        *on_device([rows["video"], rows["audio"]]), temperature=TEMPERATURE, **masks()
    )
    soft = (jnp.full((6, 6), 1 / 6), jnp.full((6, 6), 1 / 6))
    for options in ({}, {"soft": soft, "softness": 0.0}, {"weights": jnp.full(6, 0.3)}):
        loss, metrics = loss_of(**on_device(rows), temperature=TEMPERATURE, **options, **masks())
        np.testing.assert_allclose(loss, 2 * expected, rtol=1e-12)
        for name, value in expected_metrics.items():
            np.testing.assert_allclose(metrics[name], value)


@pytest.mark.usefixtures("float64")
def test_gradient_equals_differences_of_the_loops():
    rows, queue, weights = embeddings(), queued(), np.linspace(0.3, 1, 6)
    soft = naive_soft(rows, "cycle", INDEX, PRESENT, queue)

    def loss(video):
        return loss_of(
            **on_device(rows | {"video": video}),
            temperature=TEMPERATURE,
            weights=jnp.asarray(weights),
            soft=tuple(on_device(soft)),
            softness=SOFTNESS,
            **masks(queue=queue),
        )[0]

    gradient = jax.grad(loss)(jnp.asarray(rows["video"]))
    step = 1e-6
    for row, column in ((0, 0), (1, 3), (5, 4)):
        values = []
        for sign in (1, -1):
            moved = rows["video"].copy()
            moved[row, column] += sign * step
            moved = rows | {"video": moved}
            values.append(naive_loss(moved, weights, soft, INDEX, PRESENT, queue))
        difference = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(gradient[row, column], difference, atol=1e-8)
    np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


def whole(rows, present=PRESENT, queue=None, blocks=1):
    """Statistics, weights, targets and loss from the embeddings alone."""
    targets = {side: rows[side] for side in ("video_target", "audio_target")}
    score = agreement(*targets.values(), present=jnp.asarray(present))
    statistics = update_statistics(initial_statistics(), score, present=jnp.asarray(present))
    weights = agreement_weights(score, mean=statistics["mean"], deviation=statistics["deviation"])
    batch = masks(present=present, queue=queue)
    return robust_cross_modal_loss(
        **rows, weights=weights, soft=soft_targets, blocks=blocks, **batch
    )[0]


whole_gradient = jax.jit(jax.value_and_grad(whole), static_argnames="blocks")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("with_queue", [False, True], ids=["batch", "queue"])
@pytest.mark.parametrize("blocks", [2, 6])
def test_in_blocks_it_is_the_same(blocks, with_queue):
    rows, queue = embeddings(), on_device(queued()) if with_queue else None
    rows["video"][~PRESENT] = np.nan
    expected = whole_gradient(on_device(rows), queue=queue)
    found = whole_gradient(on_device(rows), queue=queue, blocks=blocks)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-14), found, expected)


def in_float32(tree):
    return jax.tree.map(lambda x: x.astype(np.float32) if x.dtype.kind == "f" else x, tree)


def test_no_gradient_through_weights_and_targets():
    _, gradient = whole_gradient(on_device(in_float32(embeddings())))
    for side in ("video_target", "audio_target"):
        np.testing.assert_array_equal(gradient[side], 0.0)
    for side in ("video", "audio"):
        assert (np.abs(gradient[side][PRESENT]).max(axis=1) > 1e-6).all()


def test_absent_rows_may_hold_anything():
    rows = in_float32(embeddings())
    expected = whole_gradient(on_device(rows), queue=in_float32(queued()))
    for filling in (np.nan, np.inf, 0.0, 1e6):
        for side in SIDES:
            other = rows | {side: np.where(PRESENT[:, None], rows[side], np.float32(filling))}
            result = whole_gradient(on_device(other), queue=in_float32(queued()))
            jax.tree.map(np.testing.assert_array_equal, result, expected)


def test_nothing_to_learn_from_is_finite():
    rows = in_float32(embeddings())
    loss, gradient = whole_gradient(on_device(rows), present=np.zeros(6, bool))
    assert loss == 0.0
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0.0), gradient)
    assert loss_of(**on_device(rows), weights=jnp.zeros(6), **masks())[0] == 0.0
    # One record only: no row has a negative, and a logarithm of a sum is of the one product.
    alone = loss_of(**on_device(rows), **masks(index=np.zeros(6, int)))[0]
    np.testing.assert_allclose(alone, 0.0, atol=1e-6)
    # All embeddings equal, of any length, zero too.
    for value in (0.0, 3.0):
        flat = {side: jnp.full((6, 5), value) for side in SIDES}
        loss, gradient = whole_gradient(flat)
        assert np.isfinite(loss)
        assert all(np.isfinite(g).all() for g in gradient.values())


def test_bf16_is_computed_in_float32():
    rows = {side: jnp.asarray(x, jnp.bfloat16) for side, x in embeddings(dim=64).items()}
    queue = in_float32(queued(dim=64))
    loss = jax.jit(whole)(rows, queue=queue)
    assert loss.dtype == jnp.float32
    wide = {side: x.astype(jnp.float32) for side, x in rows.items()}
    np.testing.assert_array_equal(loss, jax.jit(whole)(wide, queue=queue))


def test_unknown_names_are_refused():
    targets = on_device([embeddings()[side] for side in ("video_target", "audio_target")])
    with pytest.raises(ValueError, match="estimator is one of bootstrapped"):
        soft_targets(*rows_and_candidates(*targets, **masks()), estimator="cyclic")
    with pytest.raises(ValueError, match="floor is one of clip, affine"):
        agreement_weights(jnp.zeros(3), mean=0.0, deviation=1.0, floor="none")
