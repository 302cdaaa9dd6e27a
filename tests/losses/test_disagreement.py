"""De Sa's on-line updates against a loop, and their form for gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.disagreement import (
    classify,
    competitive_labels,
    disagreement_rate,
    minimise_disagreement,
    soft_class_logits,
    soft_disagreement,
)

pytestmark = pytest.mark.usefixtures("strict_dtypes")
update = jax.jit(minimise_disagreement, static_argnames="normalised")


def codebook(prototypes, labels) -> dict[str, jax.Array]:
    return {"prototypes": prototypes, "labels": labels}


def streams(num=40, num_prototypes=6, dims=(2, 3), seed=0):
    random = np.random.default_rng(seed)
    examples = [random.standard_normal((num, dim)) for dim in dims]
    prototypes = [random.standard_normal((num_prototypes, dim)) for dim in dims]
    labels = np.arange(num_prototypes, dtype=np.int32) % 3
    return examples, prototypes, labels


def loop(examples, prototypes, labels, rates, windows, present, normalised):
    prototypes = [w.copy() for w in prototypes]
    num_moved = 0
    for n in range(len(rates)):
        if not present[n]:
            continue
        near = [np.argsort(((x[n] - w) ** 2).sum(1))[:2] for x, w in zip(examples, prototypes)]  # noqa: B905
        classes = [labels[pair[0]] for pair in near]
        for side in (0, 1):
            x, w, (i, j) = examples[side][n], prototypes[side], near[side]
            square = [((x - w[k]) ** 2).sum() for k in (i, j)]
            off = abs(square[0] - square[1]) / (2 * np.linalg.norm(w[i] - w[j]))
            agrees = [labels[k] == classes[1 - side] for k in (i, j)]
            if agrees[0] == agrees[1] or off >= windows[n]:
                continue
            num_moved += 1
            for k, agreeing in zip((i, j), agrees, strict=True):
                direction = x - w[k]
                if normalised:
                    direction = direction / np.linalg.norm(direction)
                w[k] = w[k] + (1 if agreeing else -1) * rates[n] * direction
    return prototypes, num_moved


def updated(examples, prototypes, labels, rates, windows, **options):
    books = [codebook(jnp.asarray(w), jnp.asarray(labels)) for w in prototypes]
    return update(
        *books,
        *map(jnp.asarray, examples),
        step_size=jnp.asarray(rates),
        window=jnp.asarray(windows),
        **options,
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("normalised", [True, False])
def test_equals_a_loop(normalised):
    examples, prototypes, labels = streams()
    rates, windows = np.linspace(0.1, 0.0, 40), np.linspace(0.6, 0.1, 40)
    present = np.arange(40) % 7 != 3
    expected, num_moved = loop(examples, prototypes, labels, rates, windows, present, normalised)
    for x in examples:
        x[~present] = np.nan
    video, audio, trace = updated(
        examples, prototypes, labels, rates, windows,
        present=jnp.asarray(present), normalised=normalised,
    )  # fmt: skip
    assert num_moved > 10
    np.testing.assert_allclose(video["prototypes"], expected[0], rtol=1e-10)
    np.testing.assert_allclose(audio["prototypes"], expected[1], rtol=1e-10)
    assert trace["video_moved"].sum() + trace["audio_moved"].sum() == num_moved
    np.testing.assert_array_equal(video["labels"], labels)


def test_rule_of_exactly_one_and_window():
    """One pair; the video half lies between a prototype of class 0 and one of class 1."""

    def moves(audio_labels, x=0.1, window=0.5, video_labels=(0, 1)):
        books = (
            codebook(jnp.array([[-1.0], [1.0]]), jnp.array(video_labels)),
            codebook(jnp.array([[0.0], [50.0]]), jnp.array(audio_labels)),
        )
        video, _, trace = minimise_disagreement(
            *books,
            jnp.array([[x]]),
            jnp.array([[0.0]]),
            step_size=jnp.array([0.25]),
            window=jnp.array([window]),
        )
        return np.asarray(video["prototypes"][:, 0]).tolist(), bool(trace["video_moved"][0])

    assert moves((0, 1)) == ([-0.75, 1.25], True)
    assert moves((1, 0)) == ([-1.25, 0.75], True)
    assert moves((2, 0)) == ([-1.0, 1.0], False)
    assert moves((0, 1), video_labels=(0, 0)) == ([-1.0, 1.0], False)
    assert moves((0, 1), x=0.6) == ([-1.0, 1.0], False)


def test_coincidences_are_finite():
    book = codebook(jnp.array([[0.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1]))
    twins = codebook(jnp.zeros((2, 2)), jnp.array([1, 0]))
    on_it, wide = jnp.zeros((1, 2)), jnp.array([9.0])
    video, audio, trace = update(book, twins, on_it, on_it, step_size=jnp.array([0.5]), window=wide)
    # The prototype on the example stays, the other one moves to it, by the step.
    np.testing.assert_allclose(video["prototypes"], [[0.0, 0.0], [1.5, 0.0]])
    assert trace["video_moved"][0]
    np.testing.assert_array_equal(audio["prototypes"], 0.0)
    assert not trace["audio_moved"][0]
    with pytest.raises(ValueError, match="at least 2 prototypes"):
        minimise_disagreement(
            book,
            codebook(jnp.zeros((1, 2)), jnp.array([0])),
            on_it,
            on_it,
            step_size=wide,
            window=wide,
        )


def two_views(num=600, num_classes=3, per_class=3, seed=0):
    """Classes with one place in each modality, and prototypes on examples."""
    random = np.random.default_rng(seed)
    y = random.integers(0, num_classes, num)
    places = [4.0 * np.eye(num_classes)[random.permutation(num_classes)] for _ in (0, 1)]
    examples = [p[y] + 0.8 * random.standard_normal((num, num_classes)) for p in places]
    starts = np.concatenate([np.flatnonzero(y == c)[:per_class] for c in range(num_classes)])
    return y, [x.astype(np.float32) for x in examples], starts


def test_labels_of_joint_winners_correspond_and_training_keeps_the_agreement():
    y, (video, audio), starts = two_views()
    unlabelled = jnp.arange(9)
    books = [codebook(jnp.asarray(x[starts]), unlabelled) for x in (video, audio)]
    winners = [classify(jnp.asarray(x), b) for x, b in zip((video, audio), books, strict=True)]
    labels = jax.jit(competitive_labels, static_argnames=("num_prototypes", "num_classes"))(
        jax.random.key(0), *winners, num_prototypes=(9, 9), num_classes=3
    )
    # Each class has one label, the same in both modalities, and every label is in use.
    grouped = np.stack([np.reshape(side, (3, 3)) for side in labels])
    np.testing.assert_array_equal(grouped, np.broadcast_to(grouped[:1, :, :1], (2, 3, 3)))
    assert set(grouped[0, :, 0].tolist()) == {0, 1, 2}

    books = [codebook(book["prototypes"], side) for book, side in zip(books, labels, strict=True)]
    fall = jnp.linspace(0.1, 0.0, len(y))
    ends = update(*books, jnp.asarray(video), jnp.asarray(audio), step_size=fall, window=10 * fall)
    rates = [
        disagreement_rate(
            classify(jnp.asarray(video), pair[0]),
            classify(jnp.asarray(audio), pair[1]),
            present=jnp.ones(len(y), bool),
        )
        for pair in (books, ends[:2])
    ]
    assert rates[1] < 0.05
    assert rates[1] <= rates[0]


def test_absent_pairs_do_not_label():
    winners = jnp.array([0, 1, 0, 1], jnp.int32)
    crossed = jnp.array([0, 1, 1, 0], jnp.int32)
    run = jax.jit(competitive_labels, static_argnames=("num_prototypes", "num_classes"))
    sizes = dict(num_prototypes=(2, 2), num_classes=2)
    video, audio = run(
        jax.random.key(1),
        winners,
        crossed,
        present=jnp.array([True, True, False, False]),
        step_size=0.2,
        **sizes,
    )
    np.testing.assert_array_equal(video, audio)
    assert video[0] != video[1]


def test_disagreement_rate():
    first, second = jnp.array([0, 1, 2, 2]), jnp.array([0, 2, 2, 1])
    present = jnp.array([True, True, True, False])
    np.testing.assert_allclose(disagreement_rate(first, second, present=present), 1 / 3)
    assert disagreement_rate(first, second, present=jnp.zeros(4, bool)) == 0.0


@pytest.mark.usefixtures("float64")
def test_soft_classes_equal_shares_of_all_prototypes():
    random = np.random.default_rng(0)
    x, w = random.standard_normal((7, 4)), random.standard_normal((3, 2, 4))
    logits = soft_class_logits(jnp.asarray(x), jnp.asarray(w), temperature=0.5)
    nearness = np.exp(-((x[:, None, None] - w[None]) ** 2).sum(-1) / 0.5)
    expected = nearness.sum(2) / nearness.sum((1, 2))[:, None]
    np.testing.assert_allclose(jax.nn.softmax(logits), expected, rtol=1e-10)


def soft_arrays(seed=0):
    return np.random.default_rng(seed).standard_normal((2, 6, 3))


@pytest.mark.usefixtures("float64")
def test_soft_disagreement_equals_numpy():
    video, audio = soft_arrays()
    present = np.array([1, 1, 0, 1, 1, 1], bool)

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(1, keepdims=True)

    p, q = softmax(video[present]), softmax(audio[present])
    sharp_p, sharp_q = softmax(3.0 * video[present]), softmax(3.0 * audio[present])
    crossed = -(sharp_q * np.log(p) + sharp_p * np.log(q)).sum(1).mean() / 2
    entropies = [-(side.mean(0) * np.log(side.mean(0))).sum() for side in (p, q)]
    expected = crossed + 0.7 * (np.log(3) - np.mean(entropies))
    video[~present] = np.nan
    loss, metrics = soft_disagreement(
        jnp.asarray(video),
        jnp.asarray(audio),
        present=jnp.asarray(present),
        sharpness=3.0,
        marginal_weight=0.7,
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(metrics["video_marginal_entropy"], entropies[0])
    differ = (p.argmax(1) != q.argmax(1)).mean()
    np.testing.assert_allclose(metrics["disagreement"], differ)


def test_targets_have_no_gradient():
    video, audio = (jnp.asarray(x, jnp.float32) for x in soft_arrays())
    everyone = jnp.ones(6, bool)

    def loss(video):
        return soft_disagreement(video, audio, present=everyone, marginal_weight=0.0)[0]

    target = jax.nn.softmax(4.0 * audio)
    expected = (jax.nn.softmax(video) - target) / 12
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(video), expected, rtol=1e-4, atol=1e-6)


def test_soft_disagreement_is_finite_at_extremes():
    everyone, nobody = jnp.ones(6, bool), jnp.zeros(6, bool)
    one_class = jnp.zeros((6, 3)).at[:, 0].set(1e4)
    for logits, present in (
        (one_class, everyone),
        (one_class, nobody),
        (jnp.zeros((6, 3)), everyone),
    ):
        value, gradient = jax.value_and_grad(
            lambda x, present=present: soft_disagreement(x, x, present=present)[0]
        )(logits)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert present.any() or value == 0.0


def test_gradient_descent_finds_the_classes_without_collapse():
    _, (video, audio), _ = two_views(num=200)
    wrong = np.random.default_rng(1)
    start = [wrong.standard_normal((3, 2, 3)).astype(np.float32) for _ in (0, 1)]

    def loss(prototypes):
        logits = [
            soft_class_logits(jnp.asarray(x), w, temperature=4.0)
            for x, w in zip((video, audio), prototypes, strict=True)
        ]
        return soft_disagreement(*logits, present=jnp.ones(200, bool), marginal_weight=2.0)

    def step(prototypes, _):
        (_, metrics), slope = jax.value_and_grad(loss, has_aux=True)(prototypes)
        return jax.tree.map(lambda w, g: w - 1.0 * g, prototypes, slope), metrics

    _, metrics = jax.jit(lambda w: jax.lax.scan(step, w, None, length=300))(
        jax.tree.map(jnp.asarray, start)
    )
    assert metrics["disagreement"][0] > 0.3
    assert metrics["disagreement"][-1] < 0.05
    assert metrics["video_marginal_entropy"][-1] > 0.8 * np.log(3)
