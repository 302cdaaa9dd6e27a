"""Ambient sound: what the pass over the data leaves in memory, and who is taught what by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.errors import UsageError
from avssl.losses.pseudo_labels import pseudo_label_loss
from avssl.losses.sound_codes import binary_code_loss
from avssl.models.features import Features
from avssl.objectives import build_objective
from avssl.objectives.base import Owned
from avssl.signal.frontends import build_frontend
from avssl.train.build_model import build_model
from tests.objectives.clustered_clips import agree
from tests.train.small_runs import batches, small_config, train

# The mean cochleagram, something large, and the loudness.
GROUPS = (4, 3, 1)
NUM_CLASSES, NUM_RECORDS, NUM_ROWS, WIDTH = 4, 42, 48, 6
SILENT, UNREAD = 5, 7
FORMS = {
    "cluster": {"num_clusters": NUM_CLASSES},
    "binary": {"form": "binary", "num_components": 3},
    "spectrum": {"form": "spectrum", "num_components": 2},
}
ROWS = np.arange(8)


def objective(form="cluster", num_records=NUM_RECORDS, step=None, **keys):
    config = {"groups": GROUPS, **FORMS.get(form, {"form": form}), **keys}
    return build_objective("ambient", config, num_records, step)


def textures():
    """Statistics around a point of each class; rows past the last record hold rubbish."""
    random = np.random.default_rng(0)
    points = random.normal(size=(NUM_CLASSES, sum(GROUPS))) * np.repeat([1.0, 100.0, 0.0], GROUPS)
    points[:, -1] = 1.0 + 0.5 * np.arange(NUM_CLASSES)
    rows = points[np.arange(NUM_ROWS) % NUM_CLASSES]
    rows = rows + 0.01 * random.normal(size=rows.shape)
    rows[SILENT] = 0.0
    rows[NUM_RECORDS:] = np.nan
    return jnp.asarray(rows, jnp.float32)


def features_of(one, rows=ROWS):
    pictures = np.random.default_rng(1).normal(size=(NUM_ROWS, WIDTH))[rows]
    features = {one.video_read: Features(jnp.asarray(pictures, jnp.float32))}
    return features | ({one.audio_read: Features(textures()[rows])} if one.hears else {})


def batch_of(rows=ROWS):
    """Row 1 has no sound and row 2 no picture."""
    place = jnp.arange(len(rows))
    return {
        "index": jnp.asarray(rows, jnp.int32),
        "row": place,
        "present": {"audio": place != 1, "video": place != 2},
    }


def initialised(one):
    return one.init(jax.random.key(0), features_of(one), batch_of(), method="initialise")


def refreshed(one, variables, seen=None):
    rows = jnp.arange(NUM_ROWS)
    every = {"present": dict.fromkeys(("audio", "video"), rows != 1)}
    kept = one.apply(
        variables, features_of(one, np.arange(NUM_ROWS)), every, method="refresh_outputs"
    )
    seen = (rows < NUM_RECORDS) & (rows != UNREAD) if seen is None else seen
    owned = Owned(variables["params"], variables["memory"])
    new = one.refresh(owned, kept, seen, 0, jax.random.key(3))
    return {"params": new.params, "memory": new.memory}


def one_step(one, variables, rows=ROWS, train=True):
    """(outputs, outcome, memory)."""
    outputs = one.apply(
        variables, features_of(one, rows), batch_of(rows), train=train, method="heads"
    )
    outcome, updated = one.apply(
        variables, outputs, batch_of(rows), train=train, mutable=["memory"]
    )
    return outputs, outcome, updated["memory"]


def standard(form):
    """(used statistics of heard records as the codebook has them, those records)."""
    used = slice(0, GROUPS[0]) if form == "spectrum" else slice(None)
    heard = np.setdiff1d(np.arange(NUM_RECORDS), (1, SILENT, UNREAD))
    x = np.asarray(textures(), np.float64)[:NUM_RECORDS, used]
    centred = x - x[heard].mean(axis=0)
    groups = GROUPS[:1] if form == "spectrum" else GROUPS
    scale = []
    for part in np.split(centred[heard], np.cumsum(groups)[:-1], axis=1):
        scale += [1 / np.sqrt((part**2).sum(axis=1).mean())] * part.shape[1]
    return centred * scale, heard


def targets_of(form, memory):
    """The target of each record by the codebook, in numpy."""
    x, heard = standard(form)
    if form == "cluster":
        distance = ((x[:, None] - np.asarray(memory["centroids"])[None]) ** 2).sum(axis=2)
        return distance.argmin(axis=1), heard
    return (x @ np.asarray(memory["basis"]) > 0), heard


@pytest.mark.parametrize("form", FORMS)
def test_the_codebook_is_that_of_all_sounds_with_groups_of_equal_weight(form):
    one = objective(form, every_window=False)
    after = refreshed(one, initialised(one))["memory"]
    x, heard = standard(form)
    mean, scale = np.asarray(after["mean"]), np.asarray(after["scale"])
    found = (np.asarray(textures())[heard, : one.width] - mean) * scale
    np.testing.assert_allclose(found, x[heard], rtol=1e-3, atol=1e-4)
    targets, _ = targets_of(form, after)
    kept = np.asarray(after["targets"])
    np.testing.assert_array_equal(kept[heard], targets[heard])
    away = np.setdiff1d(np.arange(NUM_RECORDS), heard)
    assert (kept[away] == -1).all(), "silent, without a sound, or unread"
    if form == "cluster":
        assert agree(kept[heard], heard % NUM_CLASSES)
        np.testing.assert_array_equal(
            after["sizes"], np.bincount(kept[heard], minlength=NUM_CLASSES)
        )
    else:
        expected = np.linalg.svd(x[heard])[2][: one.num_components].T
        turned = np.abs(np.sum(expected * np.asarray(after["basis"]), axis=0))
        np.testing.assert_allclose(turned, 1.0, rtol=1e-3)


@pytest.mark.parametrize("every_window", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_that_of_the_codes_of_heard_clips(form, every_window):
    one = objective(form, every_window=every_window)
    after = refreshed(one, initialised(one))
    if not every_window:
        one = objective(form, every_window=False, step=1)
        assert one.reads() == (one.video_read,)
        assert set(one.views({"video": None, "audio": None})) == {"video"}
    targets, _ = targets_of(form, after["memory"])
    outputs, outcome, memory = one_step(one, after)
    # Of a target for good, that of a clip that could not be read is not there; else it is heard now.
    away = (1, 2, SILENT) if every_window else (1, 2, SILENT, UNREAD)
    taught = jnp.asarray(~np.isin(ROWS, away))
    expected = (
        pseudo_label_loss(outputs["logits"], jnp.asarray(targets[ROWS]), present=taught)
        if form == "cluster"
        else binary_code_loss(outputs["logits"], jnp.asarray(targets[ROWS]), present=taught)
    )[0]
    np.testing.assert_allclose(outcome.loss, expected, rtol=1e-5)
    assert outcome.loss > 0.1
    assert outcome.metrics["taught"] == len(ROWS) - len(away)
    assert outcome.metrics["without_target"] == (1 if every_window else 3)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, memory, after["memory"])), "frozen"
    assert (set(one.clusters(outputs)) == {"video"}) == (form == "cluster")


def test_pictures_alone_are_trained_and_silent_clips_train_nothing():
    one = objective()
    after = refreshed(one, initialised(one))

    def loss(picture, sound):
        features = {one.video_read: picture, one.audio_read: sound}
        outputs = one.apply(after, features, batch_of(), train=True, method="heads")
        return one.apply(after, outputs, batch_of(), train=True).loss

    of_picture, of_sound = jax.jit(jax.grad(loss, (0, 1)))(*features_of(one).values())
    moved = np.any(np.asarray(of_picture.embedding), axis=1)
    assert moved.tolist() == [row not in (1, 2, SILENT) for row in ROWS]
    assert not np.any(of_sound.embedding)
    assert one.audio_read.mode == "eval"
    nobody = np.full(8, SILENT)
    _, outcome, _ = one_step(one, after, nobody)
    assert outcome.loss == 0
    assert all(np.isfinite(value) for value in outcome.metrics.values())


def test_it_is_fitted_once():
    one = objective()
    assert [step for step in range(100) if one.refresh_due(step)] == [0]
    assert one.stage_steps() == ()
    assert objective(every_window=False).stage_steps() == (1,)


@pytest.mark.parametrize(
    ("keys", "records", "words"),
    [
        ({"form": "clusters"}, NUM_RECORDS, "did you mean 'cluster'"),
        ({}, 3, "data.num_records is 3"),
        ({"form": "binary", "num_components": 3}, 3, "3 principal components of more records"),
        ({"form": "spectrum", "num_components": 5}, 99, "between 1 and the 4 statistics"),
        ({"groups": (8,)}, NUM_RECORDS, "groups two numbers or more"),
        ({"kmeans_iterations": 0}, NUM_RECORDS, "kmeans_iterations"),
        ({"groups": (4, 4, 1)}, NUM_RECORDS, r"groups has 9 statistics.*'audio' gives \(8,\)"),
    ],
)
def test_refusals(keys, records, words):
    with pytest.raises(UsageError, match=words):
        initialised(objective(num_records=records, **keys))


@pytest.mark.parametrize(
    ("form", "readable", "words"),
    [
        ("cluster", 3, "4 clusters of the 2 records"),
        ("binary", 4, "3 principal components of the 3 records"),
    ],
)
def test_fewer_sounds_than_codes_are_refused(form, readable, words):
    one = objective(form)
    variables = initialised(one)
    with pytest.raises(UsageError, match=words):
        refreshed(one, variables, seen=jnp.arange(NUM_ROWS) < readable)
    # One more is enough.
    refreshed(one, variables, seen=jnp.arange(NUM_ROWS) < readable + 3)


def test_statistics_keep_their_digits_beside_encoders_in_bf16():
    config = small_config("ambient", precision="bf16")
    model = build_model(config)
    (batch,) = batches(config, 1)
    read = next(read for read in model.reads if read.view == "audio")
    heard = model.inputs(read, jax.tree.map(jnp.asarray, batch), None)
    sound = jnp.asarray(batch["views"]["audio"], jnp.float32) / 32768
    frontend = build_frontend(config.encoders.texture.frontend.to_dict())
    expected = frontend(sound, rate=4000)
    assert heard.dtype == jnp.float32
    assert heard.shape == (16, 1, sum(config.objectives.ambient.groups), 1)
    np.testing.assert_allclose(heard, expected, rtol=1e-3, atol=1e-4)


def test_codes_of_made_up_sounds_are_learnt(float64):
    """A whole run: the codebook of noise, then steps that name the clusters of sounds as loud as bright."""
    config = small_config("ambient", batch_norm=False)
    config.optimizer.learning_rate = 0.1
    losses, state = train(config, batches(config, 1) * 30, 1)
    assert losses[-1] < 0.8 * losses[0]
    assert state.memory["ambient"]["sizes"].sum() == 40
