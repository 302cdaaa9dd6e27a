"""Memory banks against loops in numpy, whole and split over devices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from avssl.losses import bank as banks
from avssl.losses.bank import AGREEMENTS, bank_rows, skip_taken

pytestmark = pytest.mark.usefixtures("strict_dtypes")
update_bank = jax.jit(banks.update_bank, static_argnames="momentum")
draw_negatives = jax.jit(
    banks.draw_negatives, static_argnames=("num_rows", "num_negatives", "skip_self")
)
agreement_positives = jax.jit(
    banks.agreement_positives, static_argnames=("num_positives", "agreement", "drop_nearest")
)
NUM_ROWS, DIM = 16, 4
INDEX = np.array([3, 9, 3, 0, 15, 9, 3, 2], np.int32)
PRESENT = np.array([1, 1, 1, 1, 1, 0, 0, 1], bool)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def rows_of(num_rows: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((num_rows, dim)))


def naive_update(bank, embedding, index, momentum, present):
    """One row after the other; each starts from the bank as it was before the batch."""
    updated = bank.copy()
    for i in np.flatnonzero(present):
        updated[index[i]] = unit(momentum * bank[index[i]] + (1 - momentum) * unit(embedding[i]))
    return updated


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_update_equals_loops(momentum: float):
    bank, embedding = rows_of(NUM_ROWS), 3 * rows_of(8, seed=1)
    arguments = dict(index=INDEX, momentum=momentum, present=PRESENT)
    expected = naive_update(bank, embedding, **arguments)
    embedding[~PRESENT] = np.nan
    arguments |= dict(index=jnp.asarray(INDEX), present=jnp.asarray(PRESENT))
    updated = update_bank(jnp.asarray(bank), jnp.asarray(embedding), **arguments)
    np.testing.assert_allclose(updated, expected, rtol=1e-12)
    untouched = np.setdiff1d(np.arange(NUM_ROWS), INDEX[PRESENT])
    np.testing.assert_array_equal(np.asarray(updated)[untouched], bank[untouched])


def test_the_last_present_row_of_a_record_wins():
    bank, embedding = (x.astype(np.float32) for x in (rows_of(NUM_ROWS), rows_of(8, seed=1)))

    def updated(rows):
        present = np.zeros(8, bool)
        present[rows] = True
        return update_bank(
            jnp.asarray(bank),
            jnp.asarray(embedding),
            index=jnp.full(8, 5, jnp.int32),
            present=jnp.asarray(present),
        )

    np.testing.assert_array_equal(updated([0, 2, 6]), updated([6]))
    assert not np.array_equal(updated([6]), updated([2]))
    np.testing.assert_array_equal(updated([]), bank)


def test_rows_stay_of_unit_length():
    bank = rows_of(NUM_ROWS).astype(np.float32)
    bank[3] = np.eye(DIM)[1]
    # Opposite to its row, zero, and tiny: the first two leave the row as it was.
    embedding = np.stack([-2 * bank[3], 0 * bank[4], 1e-12 * bank[6], bank[7]])
    updated = update_bank(
        jnp.asarray(bank),
        jnp.asarray(embedding),
        index=jnp.array([3, 4, 5, 7]),
        present=jnp.ones(4, bool),
    )
    np.testing.assert_allclose(np.linalg.norm(updated, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(updated)[[3, 4]], bank[[3, 4]], rtol=1e-6)
    np.testing.assert_allclose(updated[5], unit(bank[5] + bank[6]), rtol=1e-4)
    initial = banks.initial_bank(jax.random.key(0), 50, 8)
    np.testing.assert_allclose(np.linalg.norm(initial, axis=1), 1.0, rtol=1e-6)
    assert abs(float(jnp.mean(initial))) < 0.1


def test_a_bank_may_be_half_precision():
    bank, embedding = jnp.asarray(rows_of(NUM_ROWS), jnp.bfloat16), jnp.asarray(rows_of(8, seed=1))
    present = jnp.asarray(PRESENT)
    updated = update_bank(bank, embedding, index=jnp.asarray(INDEX), present=present)
    assert updated.dtype == jnp.bfloat16
    wide = update_bank(
        bank.astype(jnp.float32), embedding, index=jnp.asarray(INDEX), present=present
    )
    np.testing.assert_array_equal(updated, wide.astype(jnp.bfloat16))


def test_a_split_bank_is_never_gathered():
    """Update and negatives on 2 x 4 devices, bank rows over the second axis, batch over both."""
    num_rows, dim, num_examples, num_negatives = 4096, 8, 16, 5
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    by_row, by_example = (
        NamedSharding(mesh, PartitionSpec(axes)) for axes in ("fsdp", ("data", "fsdp"))
    )
    random = np.random.default_rng(0)
    bank = rows_of(num_rows, dim).astype(np.float32)
    batch = {
        "embedding": rows_of(num_examples, dim, seed=1).astype(np.float32),
        "index": random.integers(0, num_rows, num_examples).astype(np.int32),
        "present": random.random(num_examples) < 0.8,
    }
    batch["index"][[3, 9]] = 77
    keys = jax.random.split(jax.random.key(3), num_examples)

    def step(bank, batch, keys):
        draws = dict(num_rows=num_rows, num_negatives=num_negatives)
        negatives = draw_negatives(keys, index=batch["index"], **draws)
        cosines = banks.bank_cosines(batch["embedding"], bank_rows(bank, negatives))
        return banks.update_bank(bank, **batch), negatives, cosines

    expected = jax.jit(step)(bank, batch, keys)
    compiled = (
        jax.jit(
            step,
            in_shardings=(by_row, by_example, by_example),
            out_shardings=(by_row, by_example, by_example),
            donate_argnums=0,
        )
        .lower(bank, batch, keys)
        .compile()
    )
    arrays = jax.device_put((bank, batch, keys), (by_row, by_example, by_example))
    for split, whole in zip(compiled(*arrays), expected, strict=True):
        np.testing.assert_allclose(split, whole, rtol=1e-6, atol=1e-7)
    text = compiled.as_text()
    assert f"f32[{num_rows // 4},{dim}]" in text
    assert not re.search(rf"f32\[{num_rows},", text)
    # In place: beside the donated shard there is room for the batch's rows, not for a second shard.
    assert compiled.memory_analysis().temp_size_in_bytes < bank.nbytes / 4


@pytest.mark.parametrize("with_positives", [False, True], ids=["avid", "cma"])
def test_negatives_are_uniform_over_what_is_not_taken(with_positives: bool):
    num_draws = 4000
    index = jnp.array([0, 5, 11], jnp.int32)
    positives = jnp.array([[1, 2, 11], [0, 4, 6], [3, 9, 10]], jnp.int32)
    keys = jax.random.split(jax.random.key(0), 3)
    negatives = draw_negatives(
        keys,
        index=index,
        positives=positives if with_positives else None,
        num_rows=12,
        num_negatives=num_draws,
    )
    for i in range(3):
        taken = {int(index[i]), *(positives[i].tolist() if with_positives else ())}
        counts = np.bincount(negatives[i], minlength=12)
        free = [j for j in range(12) if j not in taken]
        assert counts[free].sum() == num_draws
        expected = num_draws / len(free)
        assert np.sum((counts[free] - expected) ** 2 / expected) < 32  # p < 0.001 for 11 places


def test_the_released_draws_may_hit_the_record_itself():
    positives = jnp.array([[1, 2, 11]], jnp.int32)
    draws = dict(index=jnp.array([5], jnp.int32), num_rows=12, num_negatives=500)
    keys = jax.random.split(jax.random.key(0), 1)
    negatives = draw_negatives(keys, positives=positives, skip_self=False, **draws)
    assert set(np.unique(negatives)) == set(range(12)) - {1, 2, 11}


def test_draws_are_the_row_s_own():
    """Another order or another batch around a row changes nothing for it."""
    index = jnp.array([4, 0, 7, 7], jnp.int32)
    keys = jax.random.split(jax.random.key(1), 4)
    sizes = dict(num_rows=9, num_negatives=20)
    negatives = draw_negatives(keys, index=index, **sizes)
    order = jnp.array([2, 0, 3, 1])
    np.testing.assert_array_equal(
        draw_negatives(keys[order], index=index[order], **sizes), negatives[order]
    )
    assert not np.array_equal(negatives[2], negatives[3])


def test_skipping_covers_exactly_the_free_places():
    taken = np.array([[0, 1, 9], [2, 3, 7], [4, 4, 4], [8, 8, 9]])
    places = jax.jit(skip_taken)(jnp.tile(jnp.arange(10)[None], (4, 1)), jnp.asarray(taken))
    for row, found in zip(taken, places, strict=True):
        free = np.setdiff1d(np.arange(10), row)
        np.testing.assert_array_equal(found[: len(free)], free)


def test_a_bank_without_negatives_is_refused():
    keys, index = jax.random.split(jax.random.key(0), 1), jnp.zeros(1, jnp.int32)
    with pytest.raises(ValueError, match="no negatives"):
        draw_negatives(keys, index=index, num_rows=1, num_negatives=3)
    with pytest.raises(ValueError, match="no negatives"):
        draw_negatives(
            keys, index=index, positives=jnp.array([[1, 2]]), num_rows=3, num_negatives=3
        )
    # More draws than rows are draws with replacement.
    negatives = draw_negatives(keys, index=index, num_rows=2, num_negatives=5)
    np.testing.assert_array_equal(negatives, 1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("drop_nearest", [False, True])
@pytest.mark.parametrize("agreement", AGREEMENTS)
def test_positives_equal_a_full_comparison(agreement: str, drop_nearest: bool):
    video, audio = rows_of(20), rows_of(20, seed=1)
    cosines = {"video": video @ video.T, "audio": audio @ audio.T}
    cosines["consensus"] = np.minimum(*cosines.values())
    cosines["union"] = np.maximum(cosines["video"], cosines["audio"])
    rows = np.array([7, 0, 19, 7])
    order = np.argsort(-cosines[agreement][rows], axis=1)[:, 1:4]
    positives = agreement_positives(
        jnp.asarray(video),
        jnp.asarray(audio),
        jnp.asarray(rows),
        num_positives=3,
        agreement=agreement,
        drop_nearest=drop_nearest,
    )
    np.testing.assert_array_equal(positives, np.sort(order, axis=1))


@pytest.mark.parametrize("num_rows", [banks.BLOCK, 3 * banks.BLOCK + 5, 12 * banks.BLOCK])
def test_among_equals_the_lower_index_comes_first(num_rows: int):
    """Whole numbers give many exact ties, within blocks and between them."""
    video, audio = np.random.default_rng(2).integers(-2, 3, (2, num_rows, 3)).astype(np.float32)
    rows = np.arange(0, num_rows, 37)
    similarity = np.minimum(video[rows] @ video.T, audio[rows] @ audio.T)
    similarity[np.arange(len(rows)), rows] = -np.inf
    expected = np.sort(np.argsort(-similarity, axis=1, kind="stable")[:, :6], axis=1)
    positives = agreement_positives(
        jnp.asarray(video), jnp.asarray(audio), jnp.asarray(rows), num_positives=6
    )
    np.testing.assert_array_equal(positives, expected)


def test_similarities_are_not_gathered_where_rows_are_split():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    by_row, whole = (NamedSharding(mesh, PartitionSpec(axis)) for axis in ("data", None))
    num_rows, num_queries = 8 * banks.BLOCK - 7, 16
    video, audio = (jnp.asarray(rows_of(num_rows, seed=i), jnp.float32) for i in range(2))
    rows = jnp.arange(num_queries) * 100

    def find(video, audio, rows):
        return banks.agreement_positives(video, audio, rows, num_positives=3)

    shardings = dict(in_shardings=(whole, whole, by_row), out_shardings=by_row)
    compiled = jax.jit(find, **shardings).lower(video, audio, rows).compile()
    positives = compiled(*jax.device_put((video, audio, rows), shardings["in_shardings"]))
    np.testing.assert_array_equal(positives, jax.jit(find)(video, audio, rows))
    text = compiled.as_text()
    assert f"f32[{num_queries // 8},{num_rows}]" in text
    assert not re.search(rf"f32\[{num_queries},({num_rows}|{num_rows + 7}|8,{banks.BLOCK})\]", text)


def test_equal_rows_are_positives_and_self_is_not():
    bank = jnp.asarray(np.tile(rows_of(1), (6, 1)), jnp.float32)
    positives = agreement_positives(bank, bank, jnp.arange(6), num_positives=2)
    assert positives.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]
    released = agreement_positives(bank, bank, jnp.arange(6), num_positives=2, drop_nearest=True)
    assert released.tolist() == [[1, 2]] * 6


def test_more_positives_than_other_rows_are_refused():
    bank = jnp.asarray(rows_of(5), jnp.float32)
    with pytest.raises(ValueError, match="no 5 positives"):
        agreement_positives(bank, bank, jnp.arange(5), num_positives=5)
    every = agreement_positives(bank, bank, jnp.arange(5), num_positives=4)
    assert every[2].tolist() == [0, 1, 3, 4]
    with pytest.raises(ValueError, match="consensus, union"):
        agreement_positives(bank, bank, jnp.arange(5), num_positives=4, agreement="both")
