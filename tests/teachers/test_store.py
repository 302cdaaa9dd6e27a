"""Stores of targets: what was written is joined, whatever stopped it."""

import dataclasses
import json
import pickle
import shutil

import jax
import numpy as np
import pytest

from avssl.config import differences, resolve
from avssl.data.joined import Join
from avssl.data.local import LocalCache
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError
from avssl.media.errors import MediaError
from avssl.objectives.supervised import Supervised
from avssl.teachers import teach as teaching
from avssl.teachers import windows as planning
from avssl.teachers.encoding import Encoding
from avssl.teachers.open import open_teachers
from avssl.teachers.spec import told
from avssl.teachers.store import TargetStore
from avssl.teachers.teach import only_view, teach
from avssl.teachers.teacher import Teacher, teacher_of_run
from avssl.train.build_model import build_model
from avssl.train.stream import training_pipeline
from tests.teachers.stores import BATCH, CONFIG, DATA, GRID_SECONDS, student, written
from tests.train.command_line import assert_identical, metrics


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def taught_batches(config, count, start=0):
    """(model, online form of the teacher or none, batches) of a config."""
    source = open_source(DATA)
    config, teachers = open_teachers(resolve(config), source)
    model = build_model(config)
    pipeline = training_pipeline(config, source, model, np.arange(len(source)), teachers)
    with pipeline.batches(start) as batches:
        return model, teachers, [next(batches) for _ in range(count)]


def online(config, batch):
    """What the teacher says of the views of a batch."""
    _, teachers = open_teachers(resolve(config), open_source(DATA))
    model = build_model(open_teachers(resolve(config), open_source(DATA))[0])
    seen = {key: batch[key] for key in ("views", "geometry", "present", "row", "index")}
    frozen = teachers.variables
    said = jax.jit(lambda f, b: teachers.teach(model.taught, f, b, jax.random.key(0)))(frozen, seen)
    return jax.device_get(said)["targets"]["teacher"]


def assert_rounded(stored, exact):
    """Equal to half a unit in the last of float16's 11 bits, and to the smallest that it tells apart."""
    np.testing.assert_allclose(stored, exact, rtol=2.0**-11, atol=2e-6)


def still(config, name):
    config.views[name].update(window="center", align="center")
    config.views[name].update(dict(volume=0.0) if name == "audio" else dict(
        crop="center", flip=False, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
    ))  # fmt: skip
    return config


@pytest.fixture(scope="module")
def pictures(teacher_run, tmp_path_factory):
    """Pictures' maps of the middle of each record."""
    return written(teacher_run, tmp_path_factory.mktemp("store") / "maps", "video", ("map",))


@pytest.mark.parametrize(
    ("loss", "kind", "seen"), [("hint", "embedding", "audio"), ("at", "map", "video")]
)
def test_the_middle_of_a_record_as_it_would_be_said_online(
    loss, kind, seen, teacher_run, store, pictures
):
    place = {"audio": store, "video": pictures}[seen]
    keys = dict(encoder=seen, view=seen, targets=(kind,), store=str(place))
    config = student(**{"teachers.teacher": keys})
    config.objectives.distill.loss = loss
    # The student looks at the same view, so that the same batch can be taught online.
    config.objectives.distill.student = seen
    for view in config.views.values():
        view.window = "center"
    still(config, seen)
    _, _, (batch,) = taught_batches(config, 1)
    assert batch["taught"]["teacher"].all()
    config.teachers.teacher.update(store="", run=str(teacher_run))
    exact = online(config, batch)
    assert_rounded(batch["targets"]["teacher"][kind], exact[kind])
    assert np.ptp(exact[kind], axis=0).max() > 0.01


def test_a_teacher_of_the_datas_classes_is_known_by_their_names(store, teacher_run, other_run):
    """As `other_run` is of classes of other names, its logits are of none of the data's."""

    def names(**keys):
        config = student(**{f"teachers.teacher.{key}": str(value) for key, value in keys.items()})
        config.objectives = dict(mke=dict(weight=1.0))
        config, _ = open_teachers(resolve(config), open_source(DATA))
        said = build_model(config).objectives["mke"].label_logits({"logits": 1})
        assert bool(said) == config.teachers.teacher.classes_are_labels
        return said

    assert names(run=teacher_run) == names(store=store) == {"joint": 1}
    assert names(run=other_run) == {}
    kept = differences(
        {"teachers": {"teacher": {"hash": "h"}}},
        {"teachers": {"teacher": {"hash": "h", "classes_are_labels": True}}},
    )
    assert kept == []  # what runs of before did not write down


def test_a_store_says_what_it_holds(store):
    meta = json.loads((store / "targets.json").read_text())
    assert meta["num_windows"] == 32
    assert TargetStore(str(store)).classes == open_source(DATA).label_names


def test_targets_that_were_read_once_are_read_without_the_shards(store, tmp_path):
    far = shutil.copytree(store, tmp_path / "far")
    read, key = TargetStore(str(far)), open_source(DATA).key(3)
    read.keep_locally(LocalCache(str(tmp_path / "near"), 1))
    kinds = tuple(read.encoding.shapes)
    first = read.read(3, 0, key, kinds)
    for shard in far.glob("*.array_record-*"):
        shard.unlink()
    again = pickle.loads(pickle.dumps(read)).read(3, 0, key, kinds)
    assert first.keys() == again.keys() == {*kinds}
    for kind in kinds:
        np.testing.assert_array_equal(first[kind], again[kind])


def test_how_long_records_are_is_known_without_reading_them(
    teacher_run, grid, tmp_path, monkeypatch
):
    """Of a built set; what has to be opened for it gives the same store."""

    monkeypatch.setattr(planning, "reader_of_single", lambda *_: None)
    arguments = ("video", ("map", "embedding"))
    by_table = written(teacher_run, tmp_path / "a", *arguments, every_seconds=GRID_SECONDS)
    monkeypatch.undo()
    monkeypatch.setattr(planning, "durations_of", lambda source: None)
    opened = written(teacher_run, tmp_path / "b", *arguments, every_seconds=GRID_SECONDS)
    assert content(by_table) == content(opened) == content(grid)


def test_windows_of_a_grid_and_maps_that_move_with_a_flip(teacher_run, grid):
    config = student(**{
        "teachers.teacher": dict(store=str(grid), view="video", targets=("map",)),
        "views.video.crop": "center", "objectives.distill.loss": "at",
    })  # fmt: skip
    for key in ("brightness", "contrast", "saturation", "hue"):
        config.views.video[key] = 0.0
    _, teachers, batches = taught_batches(config, 2)
    read, starts = teachers.stores["teacher"], []
    for batch in batches:
        flips = batch["geometry"]["video"]["flip"]
        assert 0 < flips.sum() < BATCH
        starts += (start := batch["geometry"]["video"]["start_seconds"]).tolist()
        window = np.round(start / GRID_SECONDS).astype(int)
        np.testing.assert_allclose(start, window * GRID_SECONDS, atol=1e-6)
        for row, index in enumerate(batch["index"].tolist()):
            kept = read.read(index, window[row], open_source(DATA).key(index), ("map",))["map"]
            kept = kept[:, :, ::-1] if flips[row] else kept
            np.testing.assert_array_equal(batch["targets"]["teacher"]["map"][row], kept)
        config.teachers.teacher.update(store="", run=str(teacher_run), encoder="video")
        exact = online(config, batch)["map"]
        assert_rounded(batch["targets"]["teacher"]["map"][~flips], exact[~flips])
    # 1.5 s hold windows of half a second at 0, 0.3, 0.6 and 0.9.
    assert {round(start, 3) for start in starts} == {0.0, 0.3, 0.6, 0.9}


def test_slots_are_windows_of_a_grid_as_they_would_be_said_online(teacher_run, grid):
    keys = dict(store=str(grid), view="video", targets=("embedding",))
    config = still(student(**{"teachers.teacher": keys}), "video")
    for view in config.views.values():
        view.window = "random"
    config.views.video.update(windows=2, every_seconds=2 * GRID_SECONDS)
    config.objectives.distill.loss = "hint"
    model, _, batches = taught_batches(config, 2)
    assert model.taught["teacher"].shapes["embedding"][0] == 2
    starts = np.concatenate([b["geometry"]["video"]["start_seconds"] for b in batches])
    starts = starts.astype(np.float64)
    # Of four windows two may be the first of two slots.
    assert {tuple(row) for row in starts.round(3).tolist()} == {(0.0, 0.6), (0.3, 0.9)}
    config.teachers.teacher.update(store="", run=str(teacher_run), encoder="video")
    for batch in batches:
        assert batch["taught"]["teacher"].all()
        exact = online(config, batch)["embedding"]
        assert exact.shape[:2] == (BATCH, 2)
        assert np.abs(exact[:, 0] - exact[:, 1]).max() > 0.01
        assert_rounded(batch["targets"]["teacher"]["embedding"], exact)


def test_no_worker_host_or_start_changes_what_is_joined(store, grid):
    source = open_source(DATA)
    view = AudioView(seconds=0.5, rate=8000)
    joins = {
        "middle": Join(TargetStore(str(store)), {"logits": (4,)}),
        "grid": Join(TargetStore(str(grid)), {"embedding": (32,)}, view),
    }

    def pipeline(**arguments):
        return Pipeline(source, {"view": view}, batch_size=BATCH, seed=1, joins=joins, **arguments)

    with pipeline().batches() as batches:
        expected = [next(batches) for _ in range(3)]
    with pipeline(workers=1, rows=np.arange(BATCH // 2, BATCH)).batches(1) as batches:
        others = [next(batches) for _ in range(2)]
    half = slice(BATCH // 2, BATCH)
    for one, other in zip(expected[1:], others, strict=True):
        for key in ("targets", "taught", "untaught", "geometry"):
            jax.tree.map(
                lambda a, b: np.testing.assert_array_equal(a[half], b), one[key], other[key]
            )
    assert expected[0]["targets"]["middle"]["logits"].any(axis=1).all()


def test_a_killed_store_goes_on_and_hosts_share_it(teacher_run, store, tmp_path, monkeypatch):
    out, num_added = tmp_path / "out", []
    add = teaching.TargetWriter.add

    def dying(self, index, outcome):
        if len(num_added) == 20:
            raise KeyboardInterrupt
        num_added.append(index)
        add(self, index, outcome)

    monkeypatch.setattr(teaching.TargetWriter, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        written(teacher_run, out, "audio", ("embedding", "logits"))
    monkeypatch.undo()
    with pytest.raises(UsageError, match="half-written"):
        TargetStore(str(out))
    with pytest.raises(UsageError, match="unfinished store with other settings"):
        written(teacher_run, out, "audio", ("embedding",))
    written(teacher_run, out, "audio", ("embedding", "logits"))
    assert content(out) == content(store)
    again = teach(
        str(teacher_run), DATA, str(out), encoder="audio", targets=("embedding", "logits")
    )
    assert again.already_complete

    shared = tmp_path / "shared"
    for host in (1, 0):
        report = teach(
            str(teacher_run), DATA, str(shared), encoder="audio", targets=("embedding", "logits"),
            batch_size=8, host=host, num_hosts=2,
        )  # fmt: skip
        assert (report.meta is None) == (host == 1)
    assert content(shared) == content(store)


def test_a_teacher_is_known_by_weights_and_views(teacher_run, monkeypatch):
    weights = {"params": {"a": np.arange(3, dtype=np.float32)}, "batch_stats": {}, "head": {}}
    views = VideoView(stream="depth"), AudioView()
    one = Teacher("x", "e", {"name": "linear_video"}, views[:1], weights)
    # Stores and run folders hold it: it must not move.
    both = dataclasses.replace(one, views=views)
    assert both.hash == "eca0debec9e7f3967e8c54dd9aef407d"
    assert told(VideoView()) == "video: frames 8, fps 16, size 112, projection flat"
    assert told(views[0]).endswith("projection flat, stream depth")
    assert only_view(one) == views[0]
    with pytest.raises(UsageError, match=r"'e' of x was trained on views of several kinds"):
        only_view(both)
    assert teacher_of_run(str(teacher_run), "audio").classes == open_source(DATA).label_names
    monkeypatch.setattr(Supervised, "classes_are_labels", False)
    assert teacher_of_run(str(teacher_run), "audio").classes is None


def test_numbers_that_cannot_be_kept_name_their_record():
    encoding = Encoding({"logits": (6,)}, "float16", top_k=2)
    logits = np.array([0.0, 3.0, -1.0, 5.0, 1.0, 1.0])
    values = {"key": b"k", "window": 0}
    from avssl.data.records import decode

    kept = encoding.decode(decode(encoding.encode("k", 0, {"logits": logits})), "k", 0, ("logits",))
    softmax = np.exp(logits) / np.exp(logits).sum()
    found = np.exp(kept["logits"]) / np.exp(kept["logits"]).sum()
    np.testing.assert_allclose(found[[1, 3]], softmax[[1, 3]], rtol=1e-3)
    np.testing.assert_allclose(found[[0, 2, 4, 5]], softmax[[0, 2, 4, 5]].mean(), rtol=1e-3)
    for number, said in ((np.nan, "record 'k' has values that are not finite"), (1e5, "float32")):
        with pytest.raises(UsageError, match=said):
            encoding.encode("k", 0, {"logits": logits + number})
    with pytest.raises(MediaError, match="another record"):
        encoding.decode(values, "other", 0, ("logits",))
    with pytest.raises(MediaError, match="damaged"):
        encoding.decode(values, "k", 0, ("logits",))


def test_a_cached_run_resumes_bit_for_bit_and_knows_its_teacher(
    store, teacher_run, other_run, run, tmp_path
):
    def pretrain(name, *overrides):
        flags = [f"--config.{override}" for override in overrides]
        return run("pretrain", "--config", CONFIG, "--workdir", tmp_path / name, *flags)

    cached = f"teachers.teacher.store={store}"
    assert pretrain("whole", cached)[0] == 0
    assert pretrain("parts", cached, "steps=2")[0] == 0
    assert pretrain("parts", cached, "steps=4")[0] == 0
    assert_identical(tmp_path / "parts", tmp_path / "whole")
    lines = metrics(tmp_path / "whole")
    assert [row["distill/taught"] for row in lines.values()] == [8.0] * 4
    assert lines[4]["teachers/teacher/untaught_clips"] == 0
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["teachers"]["teacher"]["shapes"] == {"embedding": [32], "logits": [4]}

    # Where it lies moves no number; what it is does.
    moved = shutil.copytree(store, tmp_path / "moved")
    assert pretrain("whole", f"teachers.teacher.store={moved}")[0] == 0
    code, _, said = pretrain("whole", f"teachers.teacher.run={teacher_run}")
    assert code == 2
    assert "teachers.teacher.hash" in said
    # A student needs no teacher to be evaluated.
    code, out, _ = run("evaluate", "--workdir", tmp_path / "whole", "--protocols", "knn")
    assert code == 0
    assert "video" in out
