"""Teachers that compute in the step: the same everywhere, of their own precision, refused when wrong."""

import functools

import jax
import numpy as np
import pytest

from avssl.config import resolve
from avssl.data.open import open_source
from avssl.errors import AvsslError, UsageError
from avssl.train.build_model import build_model
from avssl.train.loop import Gaps
from avssl.train.step import complete_rows
from tests.train.command_line import assert_identical, final_state
from tests.train.small_runs import batches, furthest, opened, small_config, train

PLACES = {
    "mesh of 4, fsdp, micro-batches": (4, {"parallel.fsdp": 2, "optimizer.accumulate": 2}),
    "pmap of 2, micro-batches": (2, {"optimizer.accumulate": 2, "parallel.mode": "pmap"}),
}


def distilling(**keys):
    config = small_config("distill", batch_norm=False)
    config.objectives.distill.update(keys)
    return config


def train_at(config, place, data):
    num_devices, settings = place
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(settings)
    return train(config, data, num_devices)


def test_the_same_on_any_devices_and_in_micro_batches(float64):
    """Labels, relations of the global batch to the embeddings, and a teacher with augmented views."""
    config = distilling(loss="sp", transfer_weight=10.0)
    data = batches(config, 2)
    losses, state = train_at(config, (1, {}), data)
    assert losses.std() > 1e-4
    for name, place in PLACES.items():
        other_losses, other = train_at(config, place, data)
        assert np.max(np.abs(losses - other_losses)) < 1e-9, name
        assert furthest(state.params, other.params) < 1e-9, name


def test_a_teacher_is_silent_where_it_sees_nothing_and_has_its_own_precision(float64):
    config, teachers = opened(distilling())
    model = build_model(config)
    assert set(model.encoders) == {"video"}
    assert set(model.views) == {"video", "audio"}
    assert set(model.without_teachers().views) == {"video"}
    (batch,) = batches(config, 1)
    batch["present"]["audio"][:] = np.arange(16) > 2
    assert complete_rows(model, batch["present"]).all()
    key = jax.random.key(0)

    def said_by(teachers, variables):
        teach = jax.jit(functools.partial(teachers.teach, model.taught))
        return jax.device_get(teach(variables, batch, key))

    said = said_by(teachers, teachers.variables)
    assert (said["taught"]["teacher"] == batch["present"]["audio"]).all()
    logits = said["targets"]["teacher"]["logits"]
    assert not logits[:3].any()
    assert logits[3:].any(axis=1).all()
    assert (said["untaught"]["teacher"] == -1).all()

    config.teachers.teacher.precision = "bf16"
    coarse = opened(config)[1]
    types = {
        part: {leaf.dtype.name for leaf in jax.tree.leaves(tree)}
        for part, tree in coarse.variables["teacher"].items()
    }
    assert types == {"params": {"bfloat16"}, "batch_stats": set(), "head": {"float32"}}
    gap = np.abs(said_by(coarse, coarse.variables)["targets"]["teacher"]["logits"] - logits).max()
    assert 1e-6 < gap < 0.1 * np.abs(logits).max()

    # A weight that is not a number speaks in no row, and names them all.
    said = said_by(teachers, jax.tree.map(lambda leaf: leaf * np.nan, teachers.variables))
    assert not said["taught"]["teacher"].any()
    assert not said["targets"]["teacher"]["logits"].any()
    assert (said["untaught"]["teacher"][3:] == batch["index"][3:]).all()


def logs_of(untaught, total, seen=100):
    return {
        "teachers/a/untaught": np.array(untaught), "teachers/a/untaught_clips": np.array(total),
        "seen_clips": np.array(seen),
    }  # fmt: skip


def test_gaps_are_bounded_and_named():
    named = []

    def key_of(index):
        named.append(index)
        return f"clip{index}"

    gaps = Gaps(0.01, key_of, frozenset({"a"}))
    gaps.check(1, logs_of([-1, 7], 10))
    # What was counted while a store taught says nothing of a teacher that computes.
    Gaps(0.0, key_of, frozenset()).check(1, logs_of([-1, -1], 1000))
    assert named == []
    with pytest.raises(AvsslError, match=r"'a' has nothing of 11 of 100 clips.*clip7"):
        gaps.check(2, logs_of([-1, 7], 11))
    with pytest.raises(AvsslError, match=r"'a' gives values that are not finite for clip3"):
        Gaps(1.0, key_of, frozenset()).check(1, logs_of([3], 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"teachers.teacher.encoder": "vidoe"}, "unknown encoder.*video"),
        ({"teachers.teacher.view": "adio"}, "did you mean 'audio'"),
        ({"teachers.teacher.targets": ("logit",)}, "did you mean 'logits'"),
        ({"teachers.teacher.targets": ("embedding",)}, "asks teacher 'teacher' for 'logits'"),
        ({"teachers.teacher.precision": "fp16"}, "teachers.teacher.precision"),
        (
            {"teachers.teacher.precision": "float64"},
            "teachers.teacher.precision=float64 needs prec",
        ),
        (
            {"teachers.teacher.hash": "0" * 32},
            "teachers.teacher.hash is 0+, and .*random network is",
        ),
        ({"teachers.teacher.run": "/no/such/run"}, "/no/such/run is no run folder"),
        ({"teachers.teacher.store": "/no/store"}, "no store of targets"),
        ({"objectives.distill.teacher": "techer"}, "did you mean 'teacher'"),
        ({"objectives.distill.loss": "kdd"}, "did you mean 'kd'"),
        ({"objectives.distill.kind": "map"}, "takes logits, not 'map'"),
        ({"objectives.distill.student": "vido"}, "did you mean 'video'"),
    ],
)
def test_what_is_wrong_is_named(change, said):
    config = small_config("distill", precision="float32")
    config.update_from_flattened_dict(change)
    with pytest.raises(UsageError, match=said):
        build_model(opened(resolve(config))[0])


def test_teachers_of_one_classifier_know_the_same_classes_in_the_same_order(teacher_run, other_run):
    config = small_config("distill", precision="float32")
    config.views.audio.update(seconds=0.25, rate=8000, volume=0.0)
    for name, folder in (("teacher", teacher_run), ("image_teacher", other_run)):
        config.teachers[name].update(run=str(folder), encoder="audio", view="audio", hash="")
    with pytest.raises(
        UsageError, match=r"'image_teacher' and 'teacher' teach one classifier and ha"
    ):
        opened(config)
    config.objectives.distill.loss = "hint"
    opened(config)


def test_crd_learns_the_classes_of_the_records_once(run, tmp_path):
    """Before the first step; a run that stopped goes on with them."""

    def pretrain(name, *overrides):
        overrides = ("objectives.distill.weight=0", "objectives.crd.num_negatives=8", *overrides)
        flags = [f"--config.{override}" for override in overrides]
        config = ("--config", "tests/teachers/student_config.py", "--workdir", tmp_path / name)
        return run("pretrain", *config, *flags)

    assert pretrain("whole")[0] == 0
    assert pretrain("parts", "steps=2")[0] == 0
    assert pretrain("parts", "steps=4")[0] == 0
    assert_identical(tmp_path / "parts", tmp_path / "whole")
    labels = np.asarray(open_source("world:tiny@train").labels())
    state = final_state(tmp_path / "whole")[1]
    kept = {name.rpartition("/")[2]: x for name, x in state.items() if "/crd/" in name}
    np.testing.assert_array_equal(kept["rows"], np.argsort(labels, kind="stable"))
    np.testing.assert_array_equal(np.diff(kept["borders"]), np.bincount(labels, minlength=10))
    assert kept["student_partition"] > 0
