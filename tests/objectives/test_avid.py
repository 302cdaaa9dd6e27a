"""The banks and the constant Z of AVID: when they change, and what they refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.avid import avid_loss
from avssl.objectives import build_objective
from avssl.train.build_model import build_model
from avssl.train.run import build_setup
from tests.train.small_runs import small_config

NUM_RECORDS, DIM = 24, 4
INDEX = np.array([3, 9, 3, 0, 15, 7], np.int32)


def objective(name="avid", **keys):
    keys = {"num_negatives": 10, "projection": (DIM,), **keys}
    return build_objective(name, keys, NUM_RECORDS)


def batch_of(index=INDEX, absent=()):
    complete = np.ones(len(index), bool)
    complete[list(absent)] = False
    return {
        "index": jnp.asarray(index),
        "row": jnp.arange(len(index), dtype=jnp.int32),
        "present": {"video": jnp.ones(len(index), bool), "audio": jnp.asarray(complete)},
        "step": jnp.zeros((), jnp.int32),
    }


def outputs_of(seed=0):
    random = np.random.default_rng(seed)
    return {
        name: jnp.asarray(3 * random.standard_normal((len(INDEX), DIM)), jnp.float32)
        for name in ("video", "audio")
    }


def fresh_memory(one):
    @jax.jit
    def made(key):
        return one.init({"params": key, "draw": key}, outputs_of(), batch_of(), train=False)

    return made(jax.random.key(0))["memory"]


def step(one, memory, batch=None, outputs=None, train=True, draw=0):
    """(outcome, memory) after one call of the loss."""
    given = outputs or outputs_of(), batch or batch_of()
    return compiled_step(one, train, memory, *given, jax.random.key(draw))


@functools.partial(jax.jit, static_argnums=(0, 1))
def compiled_step(one, train, memory, outputs, batch, key):
    outcome, updated = one.apply(
        {"memory": memory}, outputs, batch, train=train, rngs={"draw": key}, mutable=["memory"]
    )
    return outcome, updated["memory"]


def moved_rows(before, after):
    return set(np.flatnonzero(np.any(np.asarray(before) != np.asarray(after), axis=1)).tolist())


def test_only_complete_rows_of_the_batch_move_their_banks():
    one = objective()
    memory = fresh_memory(one)
    outcome, after = step(one, memory, batch_of(absent=[1, 2]))
    assert np.isfinite(outcome.loss)
    for bank in ("video_bank", "audio_bank"):
        assert moved_rows(memory[bank], after[bank]) == {0, 3, 7, 15}
        np.testing.assert_allclose(np.linalg.norm(after[bank], axis=1), 1.0, rtol=1e-5)
    assert not np.array_equal(memory["video_bank"], memory["audio_bank"])


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_each_bank_takes_its_own_modality_by_its_momentum(momentum):
    one = objective(bank_momentum=momentum)
    memory, outputs = fresh_memory(one), outputs_of()
    _, after = step(one, memory, outputs=outputs)
    for side in ("video", "audio"):
        # Row 4 of the batch is the only one of record 15.
        old, own = (np.asarray(x) for x in (memory[f"{side}_bank"][15], outputs[side][4]))
        mixed = momentum * old + (1 - momentum) * own / np.linalg.norm(own)
        expected = mixed / np.linalg.norm(mixed)
        np.testing.assert_allclose(after[f"{side}_bank"][15], expected, rtol=1e-5, atol=1e-6)


def test_rows_without_sound_cannot_matter():
    one = objective()
    memory = fresh_memory(one)
    outputs = outputs_of()
    broken = {name: array.at[2].set(jnp.nan) for name, array in outputs.items()}
    sound, after = step(one, memory, batch_of(absent=[2]), outputs)
    silent, same = step(one, memory, batch_of(absent=[2]), broken)
    assert sound.loss == silent.loss
    jax.tree.map(np.testing.assert_array_equal, after, same)


def test_z_is_set_by_the_first_batch_with_a_complete_row():
    one = objective()
    memory = fresh_memory(one)
    assert memory["partition"] == 0
    outcome, memory = step(one, memory, batch_of(absent=range(len(INDEX))))
    assert (memory["partition"], outcome.loss) == (0, 0)
    outcome, memory = step(one, memory)
    first = memory["partition"]
    assert first > 0
    assert outcome.metrics["partition"] == first
    _, memory = step(one, memory, outputs=outputs_of(seed=1), draw=1)
    assert memory["partition"] == first


def test_evaluation_writes_nothing():
    one = objective()
    memory = fresh_memory(one)
    _, after = step(one, memory, train=False)
    jax.tree.map(np.testing.assert_array_equal, memory, after)


def test_self_and_joint_are_flags():
    memory = fresh_memory(objective())
    losses = {}
    for name, weights in (("cross", (1.0, 0.0)), ("within", (0.0, 1.0)), ("joint", (1.0, 1.0))):
        one = objective(cross=weights[0], within=weights[1])
        # Z is the first term's, which differs: set, it is the same for all.
        losses[name], _ = step(one, {**memory, "partition": jnp.float32(2.0)})
    assert losses["cross"].metrics.keys() == {"video_to_audio", "audio_to_video", "partition"}
    assert losses["within"].metrics.keys() == {"video_to_video", "audio_to_audio", "partition"}
    mean = (losses["cross"].loss + losses["within"].loss) / 2
    np.testing.assert_allclose(losses["joint"].loss, mean, rtol=1e-6)


def test_the_loss_is_that_of_the_old_banks():
    """The batch enters the banks after it was judged."""
    one = objective(num_negatives=NUM_RECORDS)
    memory = fresh_memory(one)
    rows = jnp.arange(len(INDEX), dtype=jnp.int32)

    def negatives(self):
        return self.negatives(batch_of())

    drawn = one.apply({"memory": memory}, method=negatives, rngs={"draw": jax.random.key(0)})
    assert not np.any(np.asarray(drawn) == INDEX[:, None])
    outputs = outputs_of()
    expected, _, _ = avid_loss(
        outputs["video"], outputs["audio"], video_bank=memory["video_bank"],
        audio_bank=memory["audio_bank"], index=jnp.asarray(INDEX), negatives=drawn,
        partition=memory["partition"], present=rows >= 0,
    )  # fmt: skip
    np.testing.assert_allclose(step(one, memory)[0].loss, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("num_records", "keys", "words"),
    [
        (0, {}, r"objectives\.avid keeps a row for each record.*data\.num_records is 0"),
        (1, {}, r"needs at least 2 .*data\.num_records is 1"),
        (40, {"num_negatives": 0}, "num_negatives must be at least 1"),
        (40, {"bank_momentum": 1.0}, "bank_momentum must be at least 0 and below 1"),
        (40, {"projection": ()}, r"objectives\.avid\.projection must have one width at least"),
        (40, {"cross": 0.0}, "nor both 0"),
        (40, {"cross": 2.0, "within": -1.0}, "must not be negative"),
    ],
)
def test_is_refused_before_training(num_records, keys, words):
    config = small_config("avid", precision="float32")
    config.data.num_records = num_records
    config.objectives.avid.update(keys)
    with pytest.raises(UsageError, match=words):
        build_setup(config, build_model(config))
