import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import AvsslError, UsageError
from avssl.evaluate import retrieval as room
from avssl.evaluate.retrieval import (
    class_chance,
    query_rows,
    rank_block,
    retrieval,
    retrieval_chance,
)


def pairs(num_clips=150, size=16, noise=1.5, seed=0):
    rng = np.random.default_rng(seed)
    video = rng.normal(size=(num_clips, size))
    audio = video + noise * rng.normal(size=(num_clips, size))
    return video, audio, rng.permutation(num_clips) + 1000, rng.integers(0, 5, num_clips)


def by_sorting(scores, index, labels):
    """The textbook way for distinct scores: the whole matrix, sorted."""
    order = np.argsort(-scores, axis=1)
    ranks = 1 + (index[order] == index[:, None]).argmax(axis=1)
    return {
        "r1": (ranks <= 1).mean(),
        "r5": (ranks <= 5).mean(),
        "r10": (ranks <= 10).mean(),
        "r20": (ranks <= 20).mean(),
        "median_rank": np.median(ranks),
        "class_p1": (labels[order[:, 0]] == labels).mean(),
    }


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("scores_at_once", [2**24, 2**12])
def test_equals_sorting_the_whole_matrix(scores_at_once, monkeypatch, float64):
    monkeypatch.setattr(room, "SCORES_AT_ONCE", scores_at_once)
    monkeypatch.setattr(room, "GALLERY_BLOCK", 64)
    video, audio, index, labels = pairs()
    expected = by_sorting(unit(video) @ unit(audio).T, index, labels)
    assert 0.1 < expected["r1"] < 0.9
    assert expected["r1"] < expected["class_p1"]
    assert retrieval(video, audio, index=index, labels=labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_clips", [3, 40, 333])
def test_a_collapsed_encoder_comes_last(num_clips):
    rng = np.random.default_rng(0)
    same = np.tile(rng.normal(size=(1, 200)), (num_clips, 1))
    metrics = retrieval(
        rng.normal(size=(num_clips, 200)),
        same,
        index=np.arange(num_clips),
        labels=np.arange(num_clips) % 3,
    )
    assert metrics["median_rank"] == num_clips
    assert metrics["r1"] == metrics["class_p1"] == 0


def test_one_tie_costs_one_rank():
    video = np.eye(3)
    audio = np.eye(3)[[0, 1, 1]]
    metrics = retrieval(video, audio, index=np.arange(3), labels=np.array([0, 1, 1]))
    # Clip 1 ties with the sound of clip 2, and everything ties for clip 2.
    assert metrics["r1"] == pytest.approx(1 / 3)
    assert metrics["median_rank"] == 2
    # The tie of clip 1 is within its class, those of clip 2 are not.
    assert metrics["class_p1"] == pytest.approx(2 / 3)


def test_other_clips_of_the_record_never_stand_before_the_partner():
    video = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    audio = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]])
    apart = retrieval(video, audio, index=np.array([0, 1, 2]))
    together = retrieval(video, audio, index=np.array([0, 0, 2]))
    assert apart["r1"] == pytest.approx(1 / 3)
    assert together["r1"] == 1
    assert "class_p1" not in apart


def test_a_learnt_similarity_ranks_by_its_own_score(float64):
    video, audio, index, labels = pairs(num_clips=60)

    def negative_distance(scale, queries, gallery):
        return -scale * ((queries[:, None] - gallery[None]) ** 2).sum(axis=-1)

    distance = ((video[:, None] - audio[None]) ** 2).sum(axis=-1)
    expected = by_sorting(-distance, index, labels)
    learnt = jax.tree_util.Partial(negative_distance, jnp.asarray(3.0))
    metrics = retrieval(video, audio, index=index, labels=labels, similarity=learnt)
    assert metrics == pytest.approx(expected)
    assert metrics != pytest.approx(by_sorting(unit(video) @ unit(audio).T, index, labels))


def test_chance_is_what_random_embeddings_give():
    rng = np.random.default_rng(0)
    index, labels = np.arange(40), np.repeat([0, 1, 2], [20, 15, 5])
    draws = [
        retrieval(rng.normal(size=(40, 8)), rng.normal(size=(40, 8)), index=index, labels=labels)
        for _ in range(60)
    ]
    chance = retrieval_chance(index, labels)
    assert chance["r1"] == 1 / 40
    assert chance["r5"] == 5 / 40
    assert chance["median_rank"] == 20.5
    assert chance["class_p1"] == class_chance(labels) == (20**2 + 15**2 + 5**2) / 40**2
    for name, expected in chance.items():
        assert np.mean([draw[name] for draw in draws]) == pytest.approx(expected, rel=0.15), name


def test_chance_with_repeated_records():
    chance = retrieval_chance(np.array([0, 0, 1, 1]))
    assert chance["r1"] == 0.5
    assert chance["r5"] == 1
    assert chance["median_rank"] == pytest.approx(1 + 2 / 3)


def test_memory_for_fifty_thousand_clips_stays_small():
    num_clips = 50_000
    shape = jax.ShapeDtypeStruct
    rows, block = query_rows(num_clips), room.GALLERY_BLOCK
    assert rows * num_clips <= room.SCORES_AT_ONCE
    num_blocks = -(-num_clips // block)
    queries = (
        shape((rows, 512), jnp.float32),
        shape((rows,), jnp.int32),
        shape((rows,), jnp.int32),
    )
    gallery = (
        shape((num_blocks, block, 512), jnp.float32),
        shape((num_blocks, block), jnp.int32),
        shape((num_blocks, block), jnp.int32),
    )
    lowered = rank_block.lower(jax.tree_util.Partial(room.cosines), queries, gallery)
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 300e6


def test_bad_input_is_one_sentence():
    video, audio, index, labels = pairs(num_clips=12)
    with pytest.raises(UsageError, match="clips that have both modalities; there are none"):
        retrieval(video[:0], audio[:0], index=index[:0])
    with pytest.raises(UsageError, match=r"label for every test clip; 1 of the 12 have none"):
        retrieval(video, audio, index=index, labels=np.where(np.arange(12) == 3, -1, labels))
    with pytest.raises(ValueError, match="12 queries, 11 gallery rows"):
        retrieval(video, audio[:11], index=index)
    with pytest.raises(AvsslError, match=r"similarity of query row 5 with some gallery row"):
        retrieval(
            np.where(np.arange(12)[:, None] == 5, -1, 1) * np.abs(video),
            np.abs(audio),
            index=index,
            similarity=lambda queries, gallery: jnp.log(queries @ gallery.T),
        )
    audio[7, 0] = np.nan
    with pytest.raises(AvsslError, match=r"1 of the 12 rows of the gallery embeddings .* row 7"):
        retrieval(video, audio, index=index)
