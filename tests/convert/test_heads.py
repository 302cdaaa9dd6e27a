"""Encoders with their heads out of a run and into another: it teaches and is scored as the first one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from avssl.config import load_config, resolve, run_config
from avssl.convert.export import export_encoders
from avssl.convert.import_run import import_encoders
from avssl.data.open import open_source
from avssl.errors import UsageError
from avssl.teachers.open import open_teachers
from avssl.teachers.teacher import teacher_of_run
from avssl.train.build_model import build_model
from avssl.train.checkpoint_reader import read_checkpoint
from avssl.train.run import build_setup, fresh_state
from avssl.train.start import graft
from tests.teachers.conftest import TINY, make_run, saved_run
from tests.teachers.stores import DATA, student

DETECTOR = dict(
    name="small_detector_video", modality="video", widths=(4, 4, 4, 4), pyramid_width=4,
    num_classes=1, levels=(2, 3), num_fusions=1, head_depth=1, frontend=dict(name="rgb"),
)  # fmt: skip
CLASSIFY = dict(weight=1.0, num_classes=4, modalities=("video",))
KERNEL = "params/objectives/supervised/audio_classifier/kernel"


def run_of(folder, **objectives):
    config = load_config(str(TINY))
    config.objectives = objectives
    if "detect" in objectives:
        config.views.video.update(frames=1, size=32, objects=2)
        config.encoders.video = DETECTOR
    return saved_run(folder, config)


@pytest.fixture(scope="module")
def supervised(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("supervised") / "run")


@pytest.fixture
def exported(supervised, tmp_path):
    """A file with heads that a test may damage."""
    file = tmp_path / "exported" / "encoders.safetensors"
    export_encoders(supervised, file, heads=True)
    return file


def changed(file, **keys):
    config = file.parent / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | keys))


def said_by(folder, encoder, kinds):
    """The teacher and its targets of noise."""
    teacher = teacher_of_run(str(folder), encoder)
    view = teacher.views[0]
    seeing = teacher.seeing("view", view, "float32")
    shape, dtype = view.array
    noise = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(dtype)
    batch = {**seeing.model.example_batch(4), "views": {"view": jnp.asarray(noise)}}
    variables = jax.tree.map(jnp.asarray, seeing.variables)
    return teacher, jax.device_get(seeing.targets(variables, batch, jax.random.key(0), kinds))


@pytest.mark.parametrize(
    ("encoder", "kind", "objectives"),
    [
        ("video", "logits", dict(supervised=dict(weight=1.0, num_classes=4))),
        ("audio", "logits", dict(supervised=dict(weight=1.0, num_classes=4, margin=0.2))),
        ("video", "logits", dict(xid=dict(weight=1.0, projection=(16,)), classify=CLASSIFY)),
        ("video", "boxes", dict(detect=dict(weight=1.0, agnostic=True, least_score=0.0))),
    ],
)
def test_it_teaches_as_the_run_that_was_exported(run, tmp_path, encoder, kind, objectives):
    run_folder = run_of(tmp_path / "run", **objectives)
    file, imported = tmp_path / "out" / "encoders.safetensors", tmp_path / "imported"
    alone = () if "supervised" in objectives else ("--encoders", encoder)
    head = next(name for name in objectives if name != "xid")
    assert f" with {head} of step 1" in run("export", run_folder, file, "--heads", *alone)
    assert f" with {head} of" in run("import", file, imported)
    theirs, wanted = said_by(run_folder, encoder, (kind,))
    ours, found = said_by(imported, encoder, (kind,))
    assert np.ptp(wanted[kind]) > 0
    np.testing.assert_array_equal(found[kind], wanted[kind])
    assert ours.hash == theirs.hash
    assert ours.classes == theirs.classes == open_source(DATA).label_names


def test_without_its_head_it_is_said_how_to_export_it(supervised, tmp_path):
    file = tmp_path / "bare" / "encoders.safetensors"
    export_encoders(supervised, file)
    import_encoders(file, tmp_path / "imported")
    with pytest.raises(UsageError, match=r"has no logits.*export it with --heads"):
        teacher_of_run(str(tmp_path / "imported"), "audio").check_targets(("logits",))


def test_its_classes_are_those_of_the_student_or_refused(exported, tmp_path):
    def opened(name):
        import_encoders(exported, tmp_path / name)
        config = student()
        config.update_from_flattened_dict(
            {"teachers.teacher.run": str(tmp_path / name), "objectives.distill.num_classes": 4}
        )
        return open_teachers(resolve(config), open_source(DATA))[0]

    assert opened("same").teachers.teacher.classes_are_labels
    names = open_source(DATA).label_names
    changed(exported, label_names=names[::-1])
    with pytest.raises(UsageError, match=f"number 0 is '{names[-1]}' there and '{names[0]}' here"):
        opened("turned")


def test_columns_in_another_order_are_scored_by_their_names(run, supervised, exported, tmp_path):
    """As where the data that stand for those of its training number their classes otherwise."""
    arrays = load_file(exported)
    heads = {name: array for name, array in arrays.items() if "/objectives/" in name}
    assert len(heads) == 4
    save_file(
        arrays | {name: np.ascontiguousarray(array[..., ::-1]) for name, array in heads.items()},
        exported,
    )
    changed(exported, label_names=open_source(DATA).label_names[::-1])
    import_encoders(exported, tmp_path / "imported")

    def scores(folder):
        asked = ("--protocols", "classification", "--data", DATA, "--test-data", "world:tiny@test")
        run("evaluate", "--workdir", folder, *asked, "--json", tmp_path / "table.json")
        rows = json.loads((tmp_path / "table.json").read_text())["rows"]
        return {row["features"]: row["value"] for row in rows}

    assert scores(tmp_path / "imported") == scores(supervised)


def test_boxes_of_an_imported_detector_are_scored(run, tmp_path):
    run_folder = run_of(tmp_path / "run", detect=dict(weight=1.0, agnostic=True))
    file, imported = tmp_path / "out" / "encoders.safetensors", tmp_path / "imported"
    export_encoders(run_folder, file, heads=True)
    import_encoders(file, imported)
    asked = ("--protocols", "detection", "--data", DATA, "--test-data", "world:tiny@test")
    run("evaluate", "--workdir", imported, *asked)
    rows = json.loads((imported / "eval.json").read_text())["rows"]
    assert "map_50" in {row["metric"] for row in rows}


def test_averaged_heads(tmp_path):
    averaging = make_run(tmp_path / "averaging", ema=0.9)
    file = tmp_path / "out" / "encoders.safetensors"
    export_encoders(averaging, file, averaged=True, heads=True)
    assert KERNEL in load_file(file)


def test_what_does_not_go_along_is_named(run, supervised, tmp_path):
    def refused(folder, *words):
        out = tmp_path / "out" / "encoders.safetensors"
        return run("export", folder, out, "--heads", *words, refused=True)

    said = refused(supervised, "--encoders", "video")
    assert "'supervised'" in said
    assert "also reads its encoder 'audio'" in said
    assert "--encoders video,audio" in said

    xid = dict(weight=1.0, projection=(16,))
    both = run_of(tmp_path / "both", xid=xid, classify=CLASSIFY)
    said = refused(both)
    assert "its encoder 'audio' gives: export the others alone (--encoders video)" in said
    assert "leave out --heads" in refused(run_of(tmp_path / "xid", xid=xid))

    distill = student(**{"teachers.teacher.hash": "0" * 32})
    distill.teachers.teacher.shapes = dict(embedding=(32,), logits=(4,))
    said = refused(saved_run(tmp_path / "distill", distill))
    assert "objective 'distill'" in said
    assert "has teachers" in said


def test_only_files_with_heads_are_of_another_version(supervised, exported, tmp_path):
    bare = tmp_path / "bare" / "encoders.safetensors"
    export_encoders(supervised, bare)
    versions = [
        json.loads((file.parent / "config.json").read_text())["version"]
        for file in (bare, exported)
    ]
    assert versions == [1, 2]
    changed(exported, version=1)
    with pytest.raises(UsageError, match=rf"unexpected: params/objectives.*{KERNEL}"):
        import_encoders(exported, tmp_path / "imported")


def test_a_head_that_lacks_arrays_is_refused(exported, tmp_path):
    arrays = load_file(exported)
    del arrays[KERNEL]
    save_file(arrays, exported)
    with pytest.raises(UsageError, match=f"missing: {KERNEL}$"):
        import_encoders(exported, tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(objectives={}), "are empty"),
        (dict(objectives=3), "is damaged"),
        (dict(objectives={"supervised": {"weight": 0.0}}), "of weight 0"),
        (dict(objectives={"supervised": {"num_classes": "four"}}), "is damaged"),
        (dict(objectives={"supervised": {"num_classes": 5}}), r"\[4\] there, \[5\] here"),
        (dict(objectives={"supervised": {"video_encoder": "vidoe"}}), "did you mean 'video'"),
        (dict(objectives={"superbised": {}}), "did you mean 'supervised'"),
        (dict(label_names="abcd"), "label_names must be a list of names"),
        (dict(views={}), "needs the view 'video'"),
    ],
)
def test_a_config_that_says_something_else(exported, tmp_path, change, said):
    changed(exported, **change)
    with pytest.raises(UsageError, match=said):
        import_encoders(exported, tmp_path / "imported")


def test_a_run_starts_from_imported_heads(supervised, exported, tmp_path):
    import_encoders(exported, tmp_path / "imported")
    config = run_config(supervised)
    state = fresh_state(build_setup(config, build_model(config), jax.devices()[:1]))
    given = read_checkpoint(tmp_path / "imported" / "checkpoints", ("params", "batch_stats"))[1]
    state, said = graft(state, given, tmp_path / "imported")
    assert "left at random" not in said
    np.testing.assert_array_equal(
        state.params["objectives"]["supervised"]["audio_classifier"]["kernel"],
        load_file(exported)[KERNEL],
    )
