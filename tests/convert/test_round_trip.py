"""Encoders out of a run and into another: bit-equal, and usable wherever a run is."""

import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import avssl
from avssl.config import run_config, to_json
from avssl.convert import export as export_room
from avssl.errors import UsageError
from avssl.train.build_model import build_model
from avssl.train.checkpoint_reader import read_checkpoint
from avssl.train.mesh import path_name
from avssl.train.run import build_setup, fresh_state
from avssl.train.start import graft
from tests.teachers.conftest import make_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("exported") / "run")


@pytest.fixture(scope="module")
def export(run_folder, tmp_path_factory):
    from avssl.convert.export import export_encoders

    out = tmp_path_factory.mktemp("export") / "encoders.safetensors"
    export_encoders(run_folder, out)
    return out


@pytest.fixture
def copy(export, tmp_path):
    """A copy that a test may damage: (file, its config.json)."""
    file = tmp_path / "copy" / export.name
    file.parent.mkdir()
    shutil.copy(export, file)
    shutil.copy(export.parent / "config.json", file.parent)
    return file, file.parent / "config.json"


def test_there_and_back_is_bit_equal(run, run_folder, export, tmp_path):
    imported = tmp_path / "imported"
    assert "audio, video of" in run("import", export, imported)
    step, theirs = read_checkpoint(run_folder / "checkpoints", ("params", "batch_stats"))
    assert step == read_checkpoint(imported / "checkpoints", ())[0]
    ours = read_checkpoint(imported / "checkpoints", ("params", "batch_stats"))[1]
    for item in ("params", "batch_stats"):
        assert list(ours[item]) == ["encoders"]
        wanted, found = theirs[item]["encoders"], ours[item]["encoders"]
        assert jax.tree.structure(wanted) == jax.tree.structure(found)
        for one, other in zip(jax.tree.leaves(wanted), jax.tree.leaves(found), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    again = tmp_path / "again" / "encoders.safetensors"
    run("export", imported, again)
    for name, array in load_file(export).items():
        np.testing.assert_array_equal(load_file(again)[name], array)


def test_an_imported_run_is_a_run(run, run_folder, export, tmp_path):
    imported = tmp_path / "imported"
    run("import", export, imported)
    samples = np.random.default_rng(0).normal(0, 0.1, 8000)
    np.testing.assert_array_equal(
        avssl.load(imported).embed_audio(samples, rate=8000),
        avssl.load(run_folder).embed_audio(samples, rate=8000),
    )
    probes = (
        "--protocols",
        "knn,linear",
        "--data",
        "world:tiny@train",
        "--test-data",
        "world:tiny@test",
    )
    run("evaluate", "--workdir", imported, *probes)
    run("evaluate", "--workdir", run_folder, *probes, "--json", tmp_path / "theirs.json")
    ours, theirs = (
        {
            (row["features"], row["protocol"]): row["value"]
            for row in json.loads(file.read_text())["rows"]
        }
        for file in (imported / "eval.json", tmp_path / "theirs.json")
    )
    assert ours == theirs
    run(
        "teach", "--teacher", imported, "--encoder", "audio", "--data", "world:tiny@train", "--out",
        tmp_path / "store",
    )  # fmt: skip


def test_a_run_starts_from_an_imported_one(run_folder, export, tmp_path, run):
    imported = tmp_path / "imported"
    run("import", export, imported)
    config = run_config(run_folder)
    state = fresh_state(build_setup(config, build_model(config), jax.devices()[:1]))
    given = read_checkpoint(imported / "checkpoints", ("params", "batch_stats"))[1]
    state, said = graft(state, given, imported)
    assert "left at random: params/objectives/supervised" in said
    wanted = read_checkpoint(run_folder / "checkpoints", ("params",))[1]["params"]["encoders"]
    for one, other in zip(
        jax.tree.leaves(wanted), jax.tree.leaves(state.params["encoders"]), strict=True
    ):
        np.testing.assert_array_equal(one, np.asarray(other))


def test_some_encoders_alone(run, run_folder, tmp_path, monkeypatch):
    out, imported = tmp_path / "alone" / "video.safetensors", tmp_path / "imported"
    said = run("export", run_folder, out, "--encoders", "vidoe", refused=True)
    assert "unknown encoder" in said
    assert "did you mean 'video'?" in said

    views_of = export_room.views_of

    def deaf(model, encoder, where):
        if encoder == "audio":
            raise UsageError(f"{where}: its encoder 'audio' knows no sound alone")
        return views_of(model, encoder, where)

    monkeypatch.setattr(export_room, "views_of", deaf)
    said = run("export", run_folder, out, refused=True)
    assert "knows no sound alone; --encoders video leaves it out" in said
    run("export", run_folder, out, "--encoders", "video")
    assert {name.split("/")[2] for name in load_file(out)} == {"video"}
    run("import", out, imported)
    with pytest.raises(UsageError):
        avssl.load(imported)["audio"]
    assert avssl.load(imported)["video"].module


def test_averaged_parameters(run, run_folder, tmp_path):
    out = tmp_path / "averaged" / "encoders.safetensors"
    said = run("export", run_folder, out, "--averaged", refused=True)
    assert "keeps no averaged parameters" in said
    averaging = make_run(tmp_path / "averaging", ema=0.9)
    run("export", averaging, out, "--averaged")
    kept = read_checkpoint(averaging / "checkpoints", ("ema",))[1]["ema"]["encoders"]["video"]
    ((path, leaf), *_) = jax.tree_util.tree_leaves_with_path(kept)
    name = f"params/encoders/video/{path_name(path)}"
    np.testing.assert_array_equal(load_file(out)[name], leaf)


def test_names_that_do_not_fit_come_in_three_lists(run, copy, tmp_path):
    file, _ = copy
    arrays = load_file(file)
    first, second, *_ = sorted(arrays)
    del arrays[first]
    arrays["params/encoders/video/stray"] = np.zeros(3, np.float32)
    arrays[second] = np.zeros((*arrays[second].shape, 2), np.float32)
    save_file(arrays, file)
    said = run("import", file, tmp_path / "run", refused=True)
    assert (
        f"missing: {first}; unexpected: params/encoders/video/stray; of another shape: {second} (["
        in said
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(format="pt"), "is not of `avssl export`"),
        (dict(version=3), "reads 1 and 2"),
        (dict(encoders={"video": 3}), "is damaged"),
        (dict(encoders={"video": {"name": "linear_vidoe"}}), "did you mean 'linear_video'"),
        (dict(views={}), "has no audio view for its encoder 'audio'"),
        (dict(trained={"step": -1, "data": "x", "data_fingerprint": "y"}), "trained.step"),
        (dict(precision="float8"), "precision"),
    ],
)
def test_a_config_that_says_something_else(run, copy, tmp_path, change, said):
    file, config = copy
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    assert said in run("import", file, tmp_path / "run", refused=True)


def test_files_that_are_no_export(run, copy, tmp_path, export):
    file, config = copy
    whole = file.read_bytes()
    for data in (b"", b"no weights", whole[: len(whole) // 2]):
        file.write_bytes(data)
        assert "no sound safetensors file" in run("import", file, tmp_path / "run", refused=True)
    file.write_bytes(whole)
    arrays = load_file(file)
    first = min(arrays)
    save_file(arrays | {first: np.full_like(arrays[first], np.nan)}, file)
    assert "not finite" in run("import", file, tmp_path / "run", refused=True)
    save_file(arrays | {first: arrays[first].astype(np.int32)}, file)
    assert "weights are floats" in run("import", file, tmp_path / "run", refused=True)
    config.write_text("{")
    assert "config.json' is damaged" in run("import", file, tmp_path / "run", refused=True)
    config.unlink()
    assert "is not there" in run("import", file, tmp_path / "run", refused=True)
    assert "is no file" in run(
        "import", tmp_path / "gone.safetensors", tmp_path / "run", refused=True
    )


def test_others_can_read_it(export):
    assert export.stat().st_mode == (export.parent / "config.json").stat().st_mode


def test_nothing_is_overwritten(run, run_folder, export, copy, tmp_path):
    assert "is there already" in run("export", run_folder, export, refused=True)
    beside = export.with_name("other.safetensors")
    assert "config.json' is there already" in run("export", run_folder, beside, refused=True)
    assert "must end with" in run("export", run_folder, tmp_path / "x.npz", refused=True)
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes").write_text("mine")
    assert "not empty" in run("import", export, full, refused=True)


def test_what_a_killed_export_left_is_written_over(tmp_path):
    from avssl.convert.encoder_file import read_config, write_encoders

    file, config = tmp_path / "encoders.safetensors", tmp_path / "config.json"
    arrays = {"params/encoders/audio/kernel": np.ones(3, np.float32)}
    write_encoders(file, arrays, {"precision": "bf16"})
    file.unlink()
    write_encoders(file, arrays, {"precision": "float32"})
    assert read_config(file)["precision"] == "float32"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", file.name]
    # Neither another's config.json is written over, nor that of weights under another name.
    with pytest.raises(UsageError, match="is there already"):
        write_encoders(tmp_path / "other.safetensors", arrays, {})
    file.unlink()
    config.write_text('{"format": "mine"}')
    with pytest.raises(UsageError, match="is there already"):
        write_encoders(file, arrays, {})


def test_a_run_of_encoders_alone_does_not_train(run, export, tmp_path):
    imported = tmp_path / "imported"
    run("import", export, imported)
    assert to_json(run_config(imported))["objectives"] == {}
    config = tmp_path / "config.py"
    config.write_text(
        "from pathlib import Path\nfrom avssl.config import run_config\n"
        f"def get_config(variant=''):\n    return run_config(Path({str(imported)!r}))\n"
    )
    said = run("pretrain", "--config", config, "--workdir", tmp_path / "new", refused=True)
    assert "no objective has a weight" in said
