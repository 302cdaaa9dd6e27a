"""Symmetric InfoNCE against loops in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.contrastive import (
    cosines,
    masked_log_softmax,
    root,
    symmetric_info_nce,
    unit_rows,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
INDEX = np.array([4, 7, 4, 1, 9, 7, 4, 2])
PRESENT = np.array([1, 1, 1, 0, 1, 0, 1, 1], bool)


info_nce = jax.jit(symmetric_info_nce, static_argnames="blocks")


def embeddings(num: int = 8, dim: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal((num, dim)), random.standard_normal((num, dim))


def naive(video, audio, temperature, index, present):
    """(loss, top1 of video to audio, top1 of audio to video), by loops over one pair at a time."""

    def logit(i, j):
        cosine = video[i] @ audio[j] / np.linalg.norm(video[i]) / np.linalg.norm(audio[j])
        return cosine / temperature

    losses, hits = [], {"video": [], "audio": []}
    for i in range(len(index)):
        if not present[i]:
            continue
        others = [j for j in range(len(index)) if present[j] and index[j] != index[i]]
        for side in ("video", "audio"):
            rivals = [logit(i, j) if side == "video" else logit(j, i) for j in others]
            total = np.exp(logit(i, i)) + sum(np.exp(r) for r in rivals)
            losses.append(-np.log(np.exp(logit(i, i)) / total))
            hits[side].append(all(logit(i, i) > r for r in rivals))
    return np.mean(losses), np.mean(hits["video"]), np.mean(hits["audio"])


def loss_of(video, audio, temperature=0.2, index=INDEX, present=PRESENT, blocks=1):
    return info_nce(
        jnp.asarray(video),
        jnp.asarray(audio),
        temperature=temperature,
        index=jnp.asarray(index, jnp.int32),
        present=jnp.asarray(present),
        blocks=blocks,
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("index", "present"),
    [
        (np.arange(8), np.ones(8, bool)),
        (INDEX, np.ones(8, bool)),
        (np.arange(8), PRESENT),
        (INDEX, PRESENT),
        (np.zeros(8, int), np.ones(8, bool)),
    ],
    ids=["plain", "duplicates", "absent", "both", "one record only"],
)
def test_equals_loops(index, present):
    video, audio = embeddings()
    loss, metrics = loss_of(video, audio, index=index, present=present)
    expected, video_hits, audio_hits = naive(video, audio, 0.2, index, present)
    np.testing.assert_allclose(loss, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(metrics["video_to_audio_top1"], video_hits)
    np.testing.assert_allclose(metrics["audio_to_video_top1"], audio_hits)
    assert int(metrics["num_pairs"]) == present.sum()


@pytest.mark.usefixtures("float64")
def test_gradient_equals_differences_of_the_loops():
    video, audio = embeddings()
    gradient = jax.grad(lambda v: loss_of(v, audio)[0])(jnp.asarray(video))
    step = 1e-6
    for row, column in ((0, 0), (1, 3), (2, 1), (7, 4)):
        moved = [video.copy(), video.copy()]
        moved[0][row, column] += step
        moved[1][row, column] -= step
        up, down = (naive(m, audio, 0.2, INDEX, PRESENT)[0] for m in moved)
        np.testing.assert_allclose(gradient[row, column], (up - down) / (2 * step), atol=1e-8)
    np.testing.assert_array_equal(gradient[~PRESENT], 0.0)


@pytest.mark.usefixtures("float64")
def test_absent_rows_may_hold_anything():
    video, audio = embeddings()
    expected = jax.value_and_grad(lambda v: loss_of(v, audio)[0])(jnp.asarray(video))
    for filling in (np.nan, np.inf, 0.0, 1e6):
        other = video.copy()
        other[~PRESENT] = filling
        result = jax.value_and_grad(lambda v: loss_of(v, audio)[0])(jnp.asarray(other))
        jax.tree.map(np.testing.assert_array_equal, result, expected)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("blocks", [2, 8])
def test_in_blocks_it_is_the_same(blocks: int):
    video, audio = (jnp.asarray(x) for x in embeddings())
    video = video.at[~PRESENT].set(jnp.nan)

    def loss(video, audio, temperature, blocks):
        return loss_of(video, audio, temperature, blocks=blocks)

    both = [
        jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(video, audio, 0.2, number)
        for number in (1, blocks)
    ]
    jax.tree.map(lambda one, other: np.testing.assert_allclose(other, one, atol=1e-14), *both)


def test_no_rows_give_zero_and_a_finite_gradient():
    video, audio = (x.astype(np.float32) for x in embeddings())
    loss, gradient = jax.value_and_grad(lambda v: loss_of(v, audio, present=np.zeros(8, bool))[0])(
        jnp.asarray(video)
    )
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_rows_of_zeros_and_large_logits_stay_finite():
    video, audio = (x.astype(np.float32) for x in embeddings())
    video[2] = 0.0
    value, gradient = jax.value_and_grad(lambda v: loss_of(v, audio, temperature=1e-3)[0])(
        jnp.asarray(video)
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(unit_rows(jnp.asarray(video))[2], 0.0)


def test_length_of_rows_does_not_count():
    video, audio = (x.astype(np.float32) for x in embeddings())
    scale = np.linspace(0.1, 30, 8, dtype=np.float32)[:, None]
    np.testing.assert_allclose(
        loss_of(video * scale, audio / scale)[0], loss_of(video, audio)[0], rtol=1e-5
    )


def test_temperature_may_be_learnt():
    video, audio = (x.astype(np.float32) for x in embeddings())
    by_number = loss_of(video, audio, temperature=0.3)[0]
    by_array, slope = jax.value_and_grad(lambda t: loss_of(video, audio, temperature=t)[0])(
        jnp.asarray(0.3)
    )
    np.testing.assert_allclose(by_array, by_number, rtol=1e-6)
    assert slope != 0.0


def test_bf16_is_computed_in_float32():
    video, audio = (jnp.asarray(x, jnp.bfloat16) for x in embeddings(dim=64))
    loss, metrics = loss_of(video, audio)
    assert loss.dtype == jnp.float32
    assert all(metric.dtype == jnp.float32 for metric in metrics.values())
    assert cosines(video, audio).dtype == jnp.float32
    wide = loss_of(video.astype(jnp.float32), audio.astype(jnp.float32))[0]
    np.testing.assert_array_equal(loss, wide)


def test_the_root_of_zero_has_gradient_zero():
    found = jax.vmap(jax.value_and_grad(root))(jnp.asarray([0.0, 4.0]))
    np.testing.assert_array_equal(found, [[0.0, 2.0], [0.0, 0.25]])


def test_a_masked_softmax_is_that_of_the_counted_columns_alone():
    logits, counted = jnp.asarray([[1.0, 2.0, 3.0, 0.5]]), jnp.asarray([[True, False, True, False]])
    found = masked_log_softmax(logits, counted)
    np.testing.assert_allclose(
        jnp.exp(found[0, ::2]), jax.nn.softmax(jnp.asarray([1.0, 3.0])), 1e-6
    )
    np.testing.assert_array_equal(found[0, 1::2], 0.0)
    far = jax.grad(lambda logits: masked_log_softmax(logits, counted)[0, 0])(logits)
    np.testing.assert_array_equal(far[0, 1::2], 0.0)
