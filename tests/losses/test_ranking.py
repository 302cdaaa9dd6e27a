"""Ranking: the sum over rivals by hand, and who is none."""

import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.ranking import ranking_loss

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sides(rows=6, width=4):
    random = np.random.default_rng(0)
    return random.normal(size=(rows, width)), random.normal(size=(rows, width))


def by_hand(student, teacher, index, present, margin):
    near = unit(student) @ unit(teacher).T
    rows = [
        sum(
            max(0.0, margin - near[i, i] + near[i, j])
            for j in range(len(near))
            if present[j] and index[j] != index[i]
        )
        for i in range(len(near))
        if present[i]
    ]
    return np.mean(rows)


def test_the_sum_over_rivals_and_the_mean_over_rows():
    student, teacher = sides()
    index, present = np.array([0, 1, 2, 2, 3, 4]), np.array([True, True, True, True, False, True])
    student[4] = np.nan
    loss, metrics = ranking_loss(
        jnp.asarray(student, jnp.float32), jnp.asarray(teacher, jnp.float32), margin=0.3,
        index=jnp.asarray(index, jnp.int32), present=jnp.asarray(present),
    )  # fmt: skip
    student[4] = 1.0
    assert float(loss) == pytest.approx(by_hand(student, teacher, index, present, 0.3), rel=1e-5)
    assert float(metrics["num_pairs"]) == 5


def test_what_is_ranked_first_by_more_than_the_margin_has_no_loss():
    rows = jnp.eye(4)
    every = {"index": jnp.arange(4), "present": jnp.ones(4, bool)}
    loss, metrics = ranking_loss(rows, 3.0 * rows, **every)
    assert float(loss) == 0
    assert float(metrics["ranking_top1"]) == 1
    loss, metrics = ranking_loss(rows, jnp.roll(rows, 1, axis=0), **every)
    # One rival of three is at cosine 1, the row's own target and the others at 0.
    assert float(loss) == pytest.approx(1.2 + 2 * 0.2)
    assert float(metrics["ranking_top1"]) == 0


def test_without_any_row_the_loss_is_zero():
    rows = jnp.full((3, 2), jnp.nan)
    loss, _ = ranking_loss(rows, rows, index=jnp.arange(3), present=jnp.zeros(3, bool))
    assert float(loss) == 0
