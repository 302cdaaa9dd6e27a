"""Robust-xID: averaged encoders, warm-up, its memory after a step, and that doubtful pairs weigh less."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.objectives import build_objective
from avssl.train.build_model import build_model
from tests.train.small_runs import batches, small_config, start_on_host, train

SIZE, DIM = 8, 6


def outputs_of(seed: int = 0):
    """Row 0 is a faulty pair: its sound points away from its picture."""
    random = np.random.default_rng(seed)
    video = random.standard_normal((SIZE, DIM))
    audio = video + 0.1 * random.standard_normal((SIZE, DIM))
    audio[0] = -video[0]
    outputs = {"video": video, "audio": audio, "video_target": video, "audio_target": audio}
    return {name: jnp.asarray(array, jnp.float32) for name, array in outputs.items()}


def run(outputs, memory=None, step=0, train=True, **keys):
    objective = build_objective(
        "robust_xid", {"weight": 1.0, "projection": (DIM,), **keys}, 100, step
    )
    batch = {
        "index": jnp.arange(SIZE),
        "step": jnp.asarray(step, jnp.int32),
        "present": {"video": jnp.ones(SIZE, bool), "audio": jnp.ones(SIZE, bool)},
    }
    if memory is None:
        memory = {"statistics": objective.fresh_statistics()}
        if objective.queue_rows:
            memory["queue"] = objective.empty_queue()

    @jax.jit
    def compiled(memory, outputs):
        return objective.apply(
            {"params": {}, "memory": memory}, outputs, batch, train=train, mutable=["memory"]
        )

    outcome, updated = compiled(memory, outputs)
    return outcome, updated["memory"]


def test_until_the_warm_up_ends_the_loss_is_plain_and_the_statistics_are_gathered():
    plain, _ = run(outputs_of(), weighted=False, soft=False)
    warm, memory = run(outputs_of(), warmup_steps=5, step=4)
    np.testing.assert_allclose(warm.loss, plain.loss, rtol=1e-6)
    assert memory["statistics"]["mass"] > 0
    robust, _ = run(outputs_of(), warmup_steps=5, step=5)
    assert abs(robust.loss - plain.loss) > 0.01


def test_a_pair_that_disagrees_weighs_less():
    plain, _ = run(outputs_of(), weighted=False, soft=False)
    weighted, _ = run(outputs_of(), soft=False)
    # The faulty pair has by far the largest loss.
    assert weighted.loss < plain.loss
    assert weighted.metrics["weight"] < 1


def test_evaluation_leaves_the_memory_alone():
    outcome, memory = run(outputs_of(), train=False, queue_rows=12)
    assert memory["statistics"]["mass"] == 0
    assert not memory["queue"]["present"].any()
    assert np.isfinite(outcome.loss)


def test_the_queue_holds_the_latest_targets_first():
    first, second = outputs_of(1), outputs_of(2)
    _, memory = run(first, queue_rows=12)
    outcome, memory = run(second, memory, queue_rows=12)
    queue = memory["queue"]
    np.testing.assert_array_equal(queue["video"][:SIZE], second["video_target"])
    np.testing.assert_array_equal(queue["video"][SIZE:], first["video_target"][: 12 - SIZE])
    assert queue["present"].all()
    assert np.isfinite(outcome.loss)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 0.2), ("shift", 0.5), ("kappa", 1.0), ("least_weight", 0.5),
        ("floor", "affine"), ("estimator", "swapped"), ("softness", 0.25),
        ("target_temperature", 0.1), ("own_temperature", 0.5),
    ],
)  # fmt: skip
def test_each_constant_reaches_the_loss(key, value):
    changed, default = run(outputs_of(), **{key: value})[0].loss, run(outputs_of())[0].loss
    assert abs(changed - default) > 1e-5


def test_targets_are_what_averaged_encoders_and_heads_say():
    model = build_model(small_config("robust_xid", precision="float32"))
    batch, key = model.example_batch(4), jax.random.key(0)
    params = model.init(key)["params"]

    @jax.jit
    def outputs_with(ema):
        variables = {**model.init(key), "ema": ema}
        return model.encode(variables, batch, key, train=True)[0]["robust_xid"]

    plain = outputs_with(params)
    for part in ("encoders", "objectives"):
        moved = jax.tree.map(lambda leaf: leaf + 0.1, params[part])
        found = outputs_with({**params, part: moved})
        for side in ("video", "audio"):
            np.testing.assert_array_equal(found[side], plain[side])
            assert not np.allclose(found[f"{side}_target"], plain[f"{side}_target"])


def test_averages_follow_by_their_decay():
    config = small_config("robust_xid", precision="float32")
    decay, start = config.ema.decay, start_on_host(config)
    _, state = train(config, batches(config, 1), 1, start)
    jax.tree.map(
        lambda average, old, new: np.testing.assert_allclose(
            average, decay * old + (1 - decay) * new, rtol=1e-5, atol=1e-7
        ),
        state.ema, start.ema, state.params,
    )  # fmt: skip
    moved = jax.tree.map(lambda old, new: np.any(old != new), start.params, state.params)
    assert any(jax.tree.leaves(moved))


def test_without_averages_it_is_refused():
    config = small_config("robust_xid", precision="float32")
    config.ema.decay = 0.0
    with pytest.raises(
        UsageError, match=r"'robust_xid' reads averaged .*: set --config\.ema\.decay"
    ):
        build_model(config)
