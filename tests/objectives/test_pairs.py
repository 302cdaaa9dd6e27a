"""Which clips are paired, and what a pair weighs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.objectives.pairs import pairs_of_batch

INDEX = jnp.array([7, 3, 7, 9, 5])
COMPLETE = jnp.array([True, True, True, False, True])


def usable_pairs(pairs):
    """{(video row, audio row, corresponds): weight}"""
    columns = (pairs.video, pairs.audio, pairs.corresponds, pairs.weight, pairs.usable)
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    found = [
        ((video, audio, right), weight) for video, audio, right, weight, usable in rows if usable
    ]
    assert len(dict(found)) == len(found), "a pair is there once"
    return dict(found)


def allowed(video, audio):
    return COMPLETE[video] and COMPLETE[audio] and INDEX[video] != INDEX[audio]


MATCHES = {(row, row, True) for row in range(5) if COMPLETE[row]}
MISMATCHES = {(v, a, False) for v in range(5) for a in range(5) if allowed(v, a)}


def test_all_negatives_are_every_allowed_pair_and_weigh_as_much_as_the_matches():
    found = usable_pairs(pairs_of_batch(jax.random.key(0), INDEX, COMPLETE, all_negatives=True))
    assert set(found) == MATCHES | MISMATCHES
    assert {found[pair] for pair in MATCHES} == {1.0}
    assert {found[pair] for pair in MISMATCHES} == {np.float32(len(MATCHES) / len(MISMATCHES))}


@pytest.mark.parametrize("all_negatives", [False, True])
def test_of_complete_clips_each_mismatch_weighs_its_share_of_a_match(all_negatives):
    pairs = pairs_of_batch(
        jax.random.key(0), jnp.arange(5), jnp.ones(5, bool), all_negatives=all_negatives
    )
    assert set(pairs.weight[5:].tolist()) == {0.25 if all_negatives else 1.0}
    assert pairs.usable.all()


def test_one_drawn_negative_each_and_in_time_all_of_them():
    draw, seen = jax.jit(pairs_of_batch), set()
    for seed in range(40):
        found = usable_pairs(draw(jax.random.key(seed), INDEX, COMPLETE))
        assert set(found) >= MATCHES
        assert {found[pair] for pair in MATCHES} == {1.0}
        drawn = set(found) - MATCHES
        # However few they are, they hold half of the weight.
        assert sum(found[pair] for pair in drawn) == pytest.approx(len(MATCHES) if drawn else 0)
        assert len({video for video, *_ in drawn}) == len(drawn)
        assert len({audio for _, audio, _ in drawn}) == len(drawn)
        seen |= drawn
    assert seen == MISMATCHES


@pytest.mark.parametrize("all_negatives", [False, True])
def test_a_clip_alone_has_no_mismatch(all_negatives):
    alone = pairs_of_batch(jax.random.key(0), INDEX[:1], COMPLETE[:1], all_negatives=all_negatives)
    assert set(usable_pairs(alone)) == {(0, 0, True)}
