"""CCL's criteria against loops, and its one scalar against the released order of two backward passes.

The naive step drops absent rows where ours masks them, has the criteria's released form, and clears
the student's gradients between the passes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses.composition import compositional_loss, jeffreys_divergence, multi_class_nce
from avssl.models.composition import Composition

pytestmark = pytest.mark.usefixtures("strict_dtypes")
LABELS = np.array([0, 1, 1, 2, 0, 1, -1, 2], np.int32)
PRESENT = np.array([1, 1, 1, 1, 1, 0, 1, 1], bool)
COUNTED = PRESENT & (LABELS >= 0)
HAS_AUDIO = np.array([1, 0, 1, 1, 1, 1, 1, 1], bool)
TEMPERATURES = {"audio": 0.5, "image": 0.1}
SIZE, CLASSES = 4, 3

nce_of = jax.jit(multi_class_nce, static_argnames="blocks")
divergence_of = jax.jit(jeffreys_divergence)


def draw(*shape, seed=0, dtype=np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive_nce(first, second, labels, counted, temperature):
    rows = np.flatnonzero(counted)
    losses = []
    for i in rows:
        weights = np.array([np.exp(unit(first)[i] @ unit(second)[j] / temperature) for j in rows])
        share = weights / weights.sum()
        same = labels[rows] == labels[i]
        loss = -np.log(share[same] + 1e-10).mean()
        if not same.all():
            loss -= np.log(1 - share[~same] + 1e-10).mean()
        losses.append(loss)
    return np.mean(losses)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("blocks", [1, 4, 8])
@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_nce_equals_loops(temperature, blocks):
    first, second = draw(8, SIZE), draw(8, SIZE, seed=1)
    expected = naive_nce(first, second, LABELS, COUNTED, temperature)
    for filling in (np.nan, np.inf, 0.0):
        pair = (np.where(COUNTED[:, None], x, filling) for x in (first, second))
        loss = nce_of(
            *pair, jnp.asarray(LABELS), temperature=temperature, present=jnp.asarray(PRESENT),
            blocks=blocks,
        )  # fmt: skip
        np.testing.assert_allclose(loss, expected, rtol=1e-12)


def naive_divergence(first, second):
    first, second = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (first, second))
    forward = first * np.log(first / second + 1e-10)
    return 0.5 * (forward + second * np.log(second / first + 1e-10)).sum(axis=1).mean()


@pytest.mark.usefixtures("float64")
def test_divergence_equals_loops_and_does_not_overflow():
    first, second = draw(8, CLASSES), 3 * draw(8, CLASSES, seed=1)
    expected = naive_divergence(first[PRESENT], second[PRESENT])
    first[~PRESENT] = np.nan
    options = {"present": jnp.asarray(PRESENT)}
    np.testing.assert_allclose(divergence_of(first, second, **options), expected, rtol=1e-12)
    assert divergence_of(second, second, **options) == pytest.approx(1e-10)

    far = jnp.asarray([[1e4, 0.0, 0.0]], jnp.float32)
    compute = jax.jit(jax.value_and_grad(lambda x: jeffreys_divergence(x, -x, present=x[:, 0] > 0)))
    value, gradient = compute(far)
    # Each side's ratio is e^10000 on what it names; the released quotient is infinite.
    np.testing.assert_allclose(value, 1e4, rtol=1e-5)
    assert np.isfinite(gradient).all()


def parameters(teachers, seed=5) -> dict:
    """Features stand for the student's network."""
    shapes = {
        "student": {"feature": (8, SIZE), "kernel": (SIZE, CLASSES), "bias": (CLASSES,)},
    } | {
        name: {
            "mix": {"kernel": (2 * SIZE, SIZE), "bias": (SIZE,)},
            "classifier": {"kernel": (SIZE, CLASSES), "bias": (CLASSES,)},
        }
        for name in teachers
    }
    random = np.random.default_rng(seed)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(lambda shape: random.standard_normal(shape), shapes, is_leaf=is_shape)


def clips(teachers) -> dict:
    """Teachers' features and where they are."""
    return {
        name: {
            "teacher": draw(8, SIZE, seed=7 + number),
            "present": PRESENT & (HAS_AUDIO if name == "audio" else True),
        }
        for number, name in enumerate(sorted(teachers))
    }


def composed(params, branch, student) -> dict:
    """The whole branch. Only losses are held to strict dtypes: flax mixes them itself."""
    branch = jax.tree.map(jnp.asarray, branch)
    with jax.numpy_dtype_promotion("standard"):
        return branch | Composition(CLASSES, dtype=branch["teacher"].dtype).apply(
            {"params": params}, branch["teacher"], student, branch["present"]
        )


def one_scalar(params, features, labels=LABELS, present=PRESENT):
    student = params["student"]
    logits = student["feature"] @ student["kernel"] + student["bias"][None]
    branches = {
        name: composed(params[name], branch, student["feature"])
        for name, branch in features.items()
    }
    return compositional_loss(
        student["feature"], logits, jnp.asarray(labels), branches, present=jnp.asarray(present)
    )


def released_losses(params, features) -> dict:
    """L_v, and L_t of each teacher, of the rows that are there."""

    def cross_entropy(logits, labels):
        return -jnp.mean(jax.nn.log_softmax(logits)[np.arange(len(labels)), labels])

    def normalised(x):
        return x / jnp.linalg.norm(x, axis=1, keepdims=True)

    def nce(first, second, labels, temperature):
        same = (labels[:, None] == labels[None]).astype(float)
        square = ((normalised(first)[:, None] - normalised(second)[None]) ** 2).sum(axis=2)
        share = jax.nn.softmax((1 - 0.5 * square) / temperature, axis=1)
        positive = -jnp.log(share + 1e-10) * same
        negative = -jnp.log(1 - share + 1e-10) * (1 - same)
        return (positive.sum(1) / same.sum(1) + negative.sum(1) / (1 - same).sum(1)).mean()

    def divergence(first, second):
        p, q = jax.nn.softmax(first), jax.nn.softmax(second)
        both = p * jnp.log(p / q + 1e-10) + q * jnp.log(q / p + 1e-10)
        return 0.5 * both.sum(axis=1).mean()

    student = params["student"]
    logits = student["feature"] @ student["kernel"] + student["bias"][None]
    rows = np.flatnonzero(COUNTED)
    losses = {"student": cross_entropy(logits[rows], LABELS[rows])}
    for name, branch in features.items():
        rows = np.flatnonzero(COUNTED & branch["present"])
        layers, labels = params[name], LABELS[rows]
        video, teacher = student["feature"][rows], branch["teacher"][rows]
        both = jnp.concatenate([normalised(teacher), normalised(video)], axis=1)
        composed = teacher + both @ layers["mix"]["kernel"] + layers["mix"]["bias"][None]
        out = composed @ layers["classifier"]["kernel"] + layers["classifier"]["bias"][None]

        def both_orders(one, other, labels=labels, name=name):
            temperature = TEMPERATURES[name]
            return nce(one, other, labels, temperature) + nce(other, one, labels, temperature)

        shared = both_orders(video, composed) + divergence(logits[rows], out)
        weight = 1.0 / len(features)
        losses["student"] += weight * (shared + both_orders(video, teacher))
        losses[name] = shared + both_orders(composed, teacher) + cross_entropy(out, labels)
    return losses


def released_gradients(params, features) -> dict:
    gradients = jax.tree.map(jnp.zeros_like, params)

    def accumulate(loss_name):
        passed = jax.grad(lambda p: released_losses(p, features)[loss_name])(params)
        return jax.tree.map(jnp.add, gradients, passed)

    for name in features:
        gradients = accumulate(name)
    gradients["student"] = jax.tree.map(jnp.zeros_like, params["student"])
    return accumulate("student")


def momentum_step(params, gradients, speed):
    """PyTorch's SGD with the published momentum and decay, at a rate at which three steps show."""
    decayed = jax.tree.map(lambda g, p: g + 5e-4 * p, gradients, params)
    speed = jax.tree.map(lambda s, g: 0.9 * s + g, speed, decayed)
    return jax.tree.map(lambda p, s: p - 0.1 * s, params, speed), speed


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("teachers", [["audio"], ["audio", "image"]], ids="-".join)
def test_one_scalar_trains_as_the_released_order_of_two_passes(teachers):
    features = clips(teachers)
    ours = theirs = parameters(teachers)
    our_speed = their_speed = jax.tree.map(np.zeros_like, ours)
    compute = jax.jit(jax.value_and_grad(lambda p: one_scalar(p, features), has_aux=True))
    released = jax.jit(lambda p: (released_losses(p, features), released_gradients(p, features)))
    for _ in range(3):
        (loss, metrics), gradients = compute(ours)
        losses, expected = released(theirs)
        np.testing.assert_allclose(loss, sum(losses.values()), rtol=1e-10)
        np.testing.assert_allclose(metrics["student_loss"], losses["student"], rtol=1e-10)
        for name in teachers:
            found = metrics[f"{name}_composition_loss"]
            np.testing.assert_allclose(found, losses[name], rtol=1e-10)
        ours, our_speed = momentum_step(ours, gradients, our_speed)
        theirs, their_speed = momentum_step(theirs, expected, their_speed)
    for found, wanted in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def in_float32(tree):
    return jax.tree.map(lambda x: x.astype(np.float32) if x.dtype.kind == "f" else x, tree)


@jax.jit
def value_and_gradients(params, features, labels, present):
    def loss(params, features_of_teachers):
        merged = {
            name: branch | {"teacher": features_of_teachers[name]}
            for name, branch in features.items()
        }
        return one_scalar(params, merged, labels, present)

    teachers = {name: branch["teacher"] for name, branch in features.items()}
    return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, teachers)


def both_teachers():
    names = ["audio", "image"]
    return in_float32(parameters(names)), in_float32(clips(names))


def test_absent_rows_may_hold_anything_and_teachers_have_no_gradient():
    params, features = both_teachers()
    (loss, metrics), gradients = value_and_gradients(params, features, LABELS, PRESENT)
    assert int(metrics["num_rows"]) == int(metrics["image_num_rows"]) == COUNTED.sum()
    assert int(metrics["audio_num_rows"]) == (COUNTED & HAS_AUDIO).sum()
    for teacher in gradients[1].values():
        np.testing.assert_array_equal(teacher, 0.0)
    of_feature = gradients[0]["student"]["feature"]
    np.testing.assert_array_equal(of_feature[~COUNTED], 0.0)
    assert (np.abs(of_feature[COUNTED]).max(axis=1) > 1e-4).all()
    for filling in (np.nan, np.inf, 0.0, 1e6):
        filled = {
            name: branch
            | {"teacher": np.where(branch["present"][:, None], branch["teacher"], filling)}
            for name, branch in features.items()
        }
        (again, _), found = value_and_gradients(params, in_float32(filled), LABELS, PRESENT)
        assert again == loss
        jax.tree.map(np.testing.assert_array_equal, found, gradients)


def test_an_absent_student_may_hold_anything():
    params, features = both_teachers()

    def loss(feature, logits):
        branches = {
            name: composed(params[name], branch, feature) for name, branch in features.items()
        }
        return compositional_loss(
            feature, logits, jnp.asarray(LABELS), branches, present=jnp.asarray(PRESENT)
        )[0]

    feature, logits = draw(8, SIZE, dtype=np.float32), draw(8, CLASSES, dtype=np.float32)
    compute = jax.jit(jax.value_and_grad(loss, (0, 1)))
    expected = compute(feature, logits)
    filled = (np.where(PRESENT[:, None], x, np.float32(np.nan)) for x in (feature, logits))
    jax.tree.map(np.testing.assert_array_equal, compute(*filled), expected)


def test_nothing_to_learn_from_is_finite():
    params, features = both_teachers()
    nobody = np.zeros(8, bool)
    for labels, present in ((LABELS, nobody), (np.full(8, -1, np.int32), PRESENT)):
        (loss, _), gradients = value_and_gradients(params, features, labels, present)
        assert loss == 0.0
        jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0.0), gradients)
    unknown = np.full(8, CLASSES, np.int32)
    assert value_and_gradients(params, features, unknown, PRESENT)[0][0] == 0.0
    # One row, one class, equal features, and vectors of zeros.
    flat = jax.tree.map(np.zeros_like, params), features
    still = params, {n: b | {"teacher": np.zeros_like(b["teacher"])} for n, b in features.items()}
    alone = np.arange(8) == 3
    for (some, of_teachers), labels, present in (
        ((params, features), LABELS, alone),
        ((params, features), np.ones(8, np.int32), PRESENT),
        (flat, LABELS, PRESENT),
        (still, LABELS, PRESENT),
    ):
        (loss, _), gradients = value_and_gradients(some, of_teachers, labels, present)
        assert np.isfinite(loss)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_rows_without_negatives_have_the_first_term_alone():
    first, options = jnp.asarray(draw(5, SIZE, dtype=np.float32)), {"temperature": 0.5}
    everywhere, alike = jnp.ones(5, bool), jnp.zeros(5, jnp.int32)
    found = nce_of(first, jnp.ones_like(first), alike, present=everywhere, **options)
    np.testing.assert_allclose(found, np.log(5), rtol=1e-5)
    # One row is all there is to find.
    alone = nce_of(first, first, alike, present=everywhere.at[1:].set(False), **options)
    np.testing.assert_allclose(alone, 0.0, atol=1e-6)


def test_a_negative_that_takes_all_costs_what_epsilon_allows():
    """Its gradient is gone by then: P (1 - P) / (1 - P + epsilon)."""
    first = jnp.asarray([[1.0, 0.0], [0.0, 1.0]], jnp.float32)
    labels, present = jnp.asarray([0, 1], jnp.int32), jnp.ones(2, bool)

    def loss(first):
        return multi_class_nce(first, first[::-1], labels, temperature=0.01, present=present)

    value, gradient = jax.jit(jax.value_and_grad(loss))(first)
    np.testing.assert_allclose(value, -2 * np.log(1e-10), rtol=1e-5)
    np.testing.assert_array_equal(gradient, 0.0)


def test_distillation_weight_and_temperatures_can_be_given():
    params, features = both_teachers()
    feature = jnp.asarray(params["student"]["feature"])
    logits = feature @ params["student"]["kernel"]
    branch = composed(params["audio"], features["audio"], feature)

    def terms(branch, **options):
        return compositional_loss(
            feature,
            logits,
            jnp.asarray(LABELS),
            {"audio": branch},
            present=jnp.asarray(PRESENT),
            **options,
        )[1]

    whole, none, warmer = jax.jit(
        lambda branch: (
            terms(branch),
            terms(branch, distillation_weight=0.0),
            terms(branch, temperatures={"audio": 1.0}),
        )
    )(branch)
    np.testing.assert_allclose(none["student_loss"], whole["classification"])
    distilled = sum(
        whole[f"audio_{name}"] for name in ("student_composed", "student_teacher", "divergence")
    )
    total = whole["classification"] + distilled
    np.testing.assert_allclose(whole["student_loss"], total, rtol=1e-6)
    assert abs(warmer["audio_student_teacher"] - whole["audio_student_teacher"]) > 1e-3


def test_bf16_is_computed_in_float32():
    first, second = (jnp.asarray(draw(8, 64, seed=s), jnp.bfloat16) for s in (0, 1))
    options = {"temperature": 0.1, "present": jnp.asarray(PRESENT)}
    loss = nce_of(first, second, jnp.asarray(LABELS), **options)
    wide = (x.astype(jnp.float32) for x in (first, second))
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(loss, nce_of(*wide, jnp.asarray(LABELS), **options))
