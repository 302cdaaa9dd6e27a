"""SoundNet: each teacher's posteriors slot by slot, on the rows that it speaks of; wrong slots are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.distillation import soundnet_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.train.build_model import build_model
from avssl.train.model import without_views
from tests.train.small_runs import batches, opened, small_config, train

ROWS, SLOTS, MOMENTS = 8, 3, 7
CLASSES = {"objects": 5, "scenes": 4}
SILENT = {"objects": 0, "scenes": 3}
SIZES = {"kernel": 3, "stride": 2}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def made(slots=SLOTS, **keys):
    shapes = {name: {"logits": (slots, number)} for name, number in CLASSES.items()}
    return build_objective("soundnet", {**SIZES, **keys}, target_shapes=shapes)


def batch_of(slots=SLOTS):
    """Row 1 has no sound, and each teacher is silent of a row of its own. There are no labels."""
    rows = jnp.arange(ROWS)
    return {
        "present": {"audio": rows != 1},
        "taught": {name: rows != silent for name, silent in SILENT.items()},
        "targets": {
            name: {"logits": 3.0 * drawn(ROWS, slots, number, seed=number)}
            for name, number in CLASSES.items()
        },
    }


def started(objective, features, batch):
    read = objective.audio_read
    return objective.init(jax.random.key(0), {read: features}, batch, method="initialise")


def run(objective, variables, features, batch):
    """(loss, (metrics, outputs of the heads))."""
    read = {objective.audio_read: features}
    outputs = objective.apply(variables, read, batch, train=True, method="heads")
    outcome = objective.apply(variables, outputs, without_views(batch), train=True)
    return outcome.loss, (outcome.metrics, outputs)


def sounds(seed=1):
    return Features(drawn(ROWS, 6), drawn(ROWS, MOMENTS, 1, 6, seed=seed))


def test_the_loss_is_that_of_posteriors_by_slot_on_the_rows_that_each_teacher_speaks_of():
    objective, batch, features = made(), batch_of(), sounds()
    variables = started(objective, features, batch)
    (total, (metrics, outputs)), gradient = jax.jit(
        jax.value_and_grad(lambda x: run(objective, variables, x, batch), has_aux=True)
    )(features)
    expected, divergences = soundnet_loss(
        {name: outputs[f"{name}_logits"] for name in CLASSES},
        {name: jax.nn.softmax(batch["targets"][name]["logits"]) for name in CLASSES},
        present={name: batch["taught"][name] & batch["present"]["audio"] for name in CLASSES},
    )
    assert outputs["objects_logits"].shape == (ROWS, SLOTS, CLASSES["objects"])
    assert float(total) == pytest.approx(float(expected), rel=1e-6)
    assert float(total) > 1.0
    for name in CLASSES:
        assert metrics[f"{name}_taught"] == ROWS - 2
        assert metrics[f"{name}_divergence"] == pytest.approx(float(divergences[name].mean()))
    assert not np.any(gradient.map[1]), "without a sound nothing is learnt"
    others = np.delete(np.asarray(gradient.map), 1, axis=0)
    assert np.all(np.any(others, axis=(1, 2, 3))), "one teacher is enough"
    assert not np.any(gradient.embedding)


def test_a_silent_teacher_leaves_the_other_ones_term_as_it_was():
    objective, batch, features = made(), batch_of(), sounds()
    variables = started(objective, features, batch)
    _, (before, _) = run(objective, variables, features, batch)
    batch["taught"]["objects"] = jnp.zeros(ROWS, bool)
    total, (after, _) = run(objective, variables, features, batch)
    assert after["objects_divergence"] == after["objects_taught"] == 0
    assert after["objects_agreement"] == 0
    assert after["scenes_divergence"] == before["scenes_divergence"]
    assert float(total) == pytest.approx(250 / 2 * float(after["scenes_divergence"]))


def test_nothing_reaches_the_teachers():
    objective, batch, features = made(), batch_of(), sounds()
    variables = started(objective, features, batch)

    def loss(targets):
        return run(objective, variables, features, {**batch, "targets": targets})[0]

    assert not any(np.any(leaf) for leaf in jax.tree.leaves(jax.grad(loss)(batch["targets"])))


def test_frequencies_are_averaged_and_one_window_is_one_slot():
    shapes = {"objects": {"logits": (5,)}}
    keys = {"teachers": ("objects",), "kernel": MOMENTS}
    objective = build_objective("soundnet", keys, target_shapes=shapes)
    batch = batch_of()
    batch["targets"]["objects"]["logits"] = batch["targets"]["objects"]["logits"][:, 0]
    flat = sounds()
    spread = flat.replace(map=jnp.concatenate([flat.map + 1.0, flat.map - 1.0], axis=2))
    variables = started(objective, flat, batch)
    losses = [float(run(objective, variables, each, batch)[0]) for each in (flat, spread)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_learnable_posteriors_are_learnt():
    objective, batch, features = made(scale=20.0), batch_of(), sounds()
    variables = started(objective, features, batch)

    @jax.jit
    def step(variables):
        loss, gradient = jax.value_and_grad(lambda v: run(objective, v, features, batch)[0])(
            variables
        )
        return jax.tree.map(lambda leaf, slope: leaf - 0.5 * slope, variables, gradient), loss

    losses = []
    for _ in range(200):
        variables, loss = step(variables)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


def test_windows_of_the_teachers_view_are_slots(float64):
    """A teacher that computes in the step, three windows at a time."""
    config = small_config("soundnet", batch_norm=False)
    config.views.slots = {**config.views.audio.to_dict(), "windows": 3, "every_seconds": 0.1}
    config.teachers.teacher.update(view="slots", shapes={})
    config.objectives.soundnet.kernel = 1
    config, teachers = opened(config)
    assert tuple(config.teachers.teacher.shapes.logits) == (3, 2)
    assert set(build_model(config).encoders) == {"audio"}
    assert set(build_model(config).without_teachers().views) == {"audio"}
    (batch,) = batches(config, 1)
    losses, _ = train(config, [batch], 1)
    assert losses[0] > 0
    assert teachers


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        UsageError, match=r"has 3 time slots and the teacher 'objects' speaks of 4: set windows"
    ):
        started(made(slots=4), sounds(), batch_of(slots=4))
    with pytest.raises(UsageError, match=r"soundnet needs the map of the encoder 'audio'"):
        started(made(), Features(drawn(ROWS, 6)), batch_of())
    with pytest.raises(UsageError, match=r"'audio' is \(6,\): give the view 'audio' one window"):
        started(made(), Features(drawn(ROWS, 6), drawn(ROWS, 6)), batch_of())
    for keys, said in (
        ({"teachers": ()}, "soundnet.teachers must name one"),
        ({"teachers": ("objects", "objects")}, "several different ones"),
        ({"stride": 0}, "kernel and stride must be at least 1"),
    ):
        with pytest.raises(UsageError, match=said):
            made(**keys).targets()
