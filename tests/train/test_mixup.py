"""Mixup: what is mixed with what and by how much, and the same batch in every mode."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta, kstest

from avssl.config import ConfigDict, base, resolve
from avssl.config.check import check_mixup
from avssl.errors import UsageError
from avssl.objectives.classify import Classify
from avssl.teachers import open as opening
from avssl.teachers.teacher import random_teacher
from avssl.train.build_model import build_model
from avssl.train.mixup import WHOLE, Mixup, blended, drawn_weights, mixed, mixup_of, swapped
from avssl.train.model import row_keys
from avssl.train.run import build_setup
from tests.train.small_runs import (
    NUM_CLASSES,
    batches,
    furthest,
    small_config,
    start_on_host,
    train,
)


def keys_of(rows):
    return row_keys(jax.random.key(3), jnp.asarray(rows, jnp.int32))


def test_weights_are_of_the_beta_and_some_rows_are_left_alone():
    keys = keys_of(np.arange(4000))
    drawn = np.asarray(drawn_weights(Mixup(10.0), keys)) / WHOLE
    assert kstest(drawn, beta(10, 10).cdf).pvalue > 0.01
    assert kstest(drawn, beta(1, 1).cdf).pvalue < 1e-9
    half = np.asarray(drawn_weights(Mixup(1.0, 0.5), keys))
    assert 0.47 < np.mean(half == WHOLE) < 0.53
    assert np.all(np.asarray(drawn_weights(Mixup(1.0, 0.0), keys)) == WHOLE)
    stated = np.asarray(drawn_weights(Mixup(weight=0.5, share=0.5), keys))
    assert set(stated.tolist()) == {WHOLE // 2, WHOLE}
    assert 0.47 < np.mean(stated == WHOLE) < 0.53


def test_a_weight_is_of_its_row_alone():
    rows = np.arange(9)
    every = np.asarray(drawn_weights(Mixup(0.4), keys_of(rows)))
    backwards = np.asarray(drawn_weights(Mixup(0.4), keys_of(rows[::-1])))
    np.testing.assert_array_equal(backwards, every[::-1])
    assert len(set(every.tolist())) == len(every)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_the_mean_of_two_rows(dtype):
    limits = np.iinfo(dtype)
    draws = np.random.default_rng(0)
    array = draws.integers(limits.min, limits.max, (6, 50), dtype, endpoint=True)
    array[2], array[3] = limits.min, limits.max
    weight = np.array([WHOLE, 0, WHOLE, 1, 1000, 3000], np.int32)
    partner = array[[1, 0, 3, 2, 5, 4]].astype(float)
    share = weight[:, None] / WHOLE
    found = np.asarray(blended(jnp.asarray(array), jnp.asarray(weight)))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.floor(share * array + (1 - share) * partner + 0.5))
    np.testing.assert_array_equal(found[0], array[0])
    np.testing.assert_array_equal(found[1], array[0])


def config_of(precision="float32", **keys):
    config = small_config("classify", precision=precision, batch_norm=False)
    config.objectives.classify.update({"num_classes": NUM_CLASSES, **keys})
    config.data.mixup = 1.0
    return resolve(config)


def data_of(config, number=1):
    """Some rows have no label, or one that has no logit."""
    made = batches(config, number)
    for batch in made:
        batch["label"] = batch["index"] % (NUM_CLASSES + 2) - 1
    return made


BOTH = {"modalities": ("video", "audio"), "dropout": 0.3, "label_smoothing": 0.1}
TAGS = {"modalities": ("audio",), "multi_label": True}


@pytest.mark.parametrize("keys", [BOTH, TAGS], ids=["classes", "tags"])
def test_rows_that_are_never_mixed(keys):
    """Those without an answer, those whose partner has none, and pairs of which one lacks a modality."""
    config = config_of(**keys)
    model = build_model(config)
    batch = data_of(config)[0]
    # Pairs: a label lacks, one has no logit, a sound lacks, both sounds lack, and the others are whole.
    batch["label"] = (np.arange(16) % NUM_CLASSES).astype(np.int32)
    batch["label"][[0, 3]] = -1, NUM_CLASSES
    batch["index"] = np.arange(16, dtype=np.int32)
    batch["present"]["audio"] = ~np.isin(np.arange(16), [4, 6, 7])
    variables = {"params": {"objectives": {"classify": {}}}, "memory": {"classify": {}}}
    apart = [0, 1, 2, 3, 4, 5]
    if "multi_label" in keys:
        tags = np.eye(NUM_CLASSES, dtype=np.int8)[np.arange(config.data.num_records) % NUM_CLASSES]
        tags[[0, 3]] = -1
        variables["memory"]["classify"]["tags"] = jnp.asarray(tags)
        apart += [6, 7]  # nothing is said of a clip without the sound
    found = mixed(model, variables, batch, jax.random.key(1), Mixup(20.0))
    share = np.asarray(found["mixture"]["share"])
    assert np.flatnonzero(share == 1).tolist() == apart
    for name, array in batch["views"].items():
        same = [np.array_equal(a, b) for a, b in zip(found["views"][name], array, strict=True)]
        assert np.flatnonzero(same).tolist() == apart
    np.testing.assert_array_equal(found["mixture"]["label"], swapped(batch["label"]))
    np.testing.assert_array_equal(found["label"], batch["label"])


@pytest.mark.parametrize("keys", [BOTH, TAGS], ids=["classes", "tags"])
def test_the_loss_of_a_mixture_is_the_mean_of_the_two(keys):
    """Cross-entropies are linear in the targets."""
    config = config_of(**keys, num_classes=3)
    one = Classify(**dict(config.objectives.classify), num_records=6)
    label = jnp.asarray([0, 2, 1, 1], jnp.int32)
    index, rows = jnp.asarray([0, 1, 2, 5], jnp.int32), jnp.arange(4, dtype=jnp.int32)
    present = {"video": jnp.ones(4, bool), "audio": jnp.ones(4, bool)}
    batch = {"label": label, "index": index, "present": present, "row": rows}
    outputs = {"logits": jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)}
    tags = np.random.default_rng(1).integers(0, 2, (6, 3)).astype(np.int8)
    variables = {"params": {}, "memory": {"tags": jnp.asarray(tags)}}

    def loss(batch):
        return float(one.apply(variables, outputs, batch, train=True).loss)

    share = 0.3
    partner = {"label": swapped(label), "index": swapped(index)}
    mixture = {"share": jnp.full(4, share), **partner}
    expected = share * loss(batch) + (1 - share) * loss({**batch, **partner})
    assert loss({**batch, "mixture": mixture}) == pytest.approx(expected, rel=1e-5)
    assert abs(loss(batch) - expected) > 1e-3


PLACES = {
    "mesh of 8": (8, {}),
    "two micro-batches, pmap of 4": (4, {"optimizer.accumulate": 2, "parallel.mode": "pmap"}),
}


def test_the_same_on_any_devices(float64):
    """Classes and tags in one run: a row is mixed where both are known."""
    config = config_of("float64", **BOTH)
    tagging = {
        **config.objectives.classify.to_dict(),
        "modalities": ("video",),
        "multi_label": True,
    }
    config.objectives.classify__tags = ConfigDict(tagging)
    config = resolve(config)
    assert_same_everywhere(config, data_of(config, 3))


def assert_same_everywhere(config, data, places=PLACES):
    start = start_on_host(config)
    found = []
    for num_devices, settings in places.values():
        placed = config.copy_and_resolve_references()
        placed.update_from_flattened_dict(settings)
        found.append(train(placed, data, num_devices, start))
    (losses, state), (other_losses, other_state) = found
    assert losses.std() > 1e-4
    assert np.max(np.abs(losses - other_losses)) < 1e-9
    assert furthest(state.params, other_state.params) < 1e-9


def hearing_config(precision, **keys):
    config = small_config("mm_distillnet", precision=precision)
    # Without a score to reach, one that knows nothing sees something in every picture.
    config.objectives.mm_distillnet.teacher_score = 0.0
    config.data.update(mixup_weight=0.5, **keys)
    return resolve(config)


@pytest.mark.slow
def test_sounds_with_the_boxes_of_both_are_the_same_on_any_devices(float64, monkeypatch):
    """In micro-batches both times: a detector has BatchNorm."""

    def seer(*described):
        teacher = random_teacher(*described)
        return dataclasses.replace(teacher, detector=teacher.detector.clone(least_score=0.0))

    monkeypatch.setattr(opening, "random_teacher", seer)
    config = hearing_config("float64", mixup_share=0.5)
    config.optimizer.learning_rate = 1e-4
    halves = {"mesh of 8": (8, {"optimizer.accumulate": 2}), **dict([*PLACES.items()][1:])}
    assert_same_everywhere(config, batches(config, 2), halves)


@pytest.mark.parametrize("mixed_by", [{"mixup": 1.0}, {"mixup_weight": 0.4}])
def test_boxes_of_both_are_of_the_mean_alone(mixed_by):
    config = base()
    config.objectives.mm_distillnet = dict(weight=1.0)
    config.data.update(mixed_by)
    with pytest.raises(UsageError, match=r"boxes of both .* set data\.mixup_weight=0\.5 and data"):
        check_mixup(config)
    config.data.update(mixup=None, mixup_weight=0.5)
    check_mixup(config)


def test_a_row_is_told_the_boxes_of_its_partner(float64):
    """Unless one of the two is not taught: then neither changes."""
    config = hearing_config("float32")
    model, batch = build_model(config), batches(config, 1)[0]
    batch["present"]["audio"] = np.arange(16) != 4
    boxes = np.random.default_rng(0).random((16, 16, 6)).astype(np.float32)
    batch["targets"], batch["taught"] = {"seer": {"boxes": boxes}}, {"seer": np.arange(16) != 7}
    variables = {"params": {"objectives": {"mm_distillnet": {}}}, "memory": {"mm_distillnet": {}}}
    found = mixed(model, variables, batch, jax.random.key(1), Mixup(weight=0.5))
    apart = [4, 5, 6, 7]
    share = np.asarray(found["mixture"]["share"])
    assert share.tolist() == [1.0 if row in apart else 0.5 for row in range(16)]
    np.testing.assert_array_equal(found["mixture"]["boxes"]["seer"], swapped(boxes))
    np.testing.assert_array_equal(found["targets"]["seer"]["boxes"], boxes)
    sounds = batch["views"]["audio"].astype(np.int32)
    mean = (sounds[0] + sounds[1] + 1) // 2
    np.testing.assert_array_equal(found["views"]["audio"][0], mean)
    np.testing.assert_array_equal(found["views"]["audio"][1], mean)


def test_what_cannot_be_is_refused():
    config = small_config("classify", "xid")
    config.data.mixup = 1.0
    with pytest.raises(
        UsageError, match=r"'xid' learns nothing \(but classify, mm_distillnet, stere"
    ):
        resolve(config)
    config.objectives.xid.weight = 0.0
    assert resolve(config).data.mixup == 1.0
    config.batch_size = 7
    with pytest.raises(UsageError, match="batch_size must be even, not 7"):
        resolve(config)
    config.data.mixup_weight = 0.5
    with pytest.raises(UsageError, match="set one of the two alone"):
        resolve(config)
    config.data.update(mixup=None, mixup_weight=None, mixup_share=0.5)
    with pytest.raises(UsageError, match=r"set data\.mixup too"):
        resolve(config)
    assert mixup_of(config, 8) is None
    config = config_of()
    config.parallel.mode, config.batch_size = "pmap", 8
    with pytest.raises(UsageError, match="multiple of 16 on 8 devices, not 8"):
        build_setup(config, build_model(config), jax.devices()[:8])
    assert mixup_of(config, 4) == Mixup(1.0)
