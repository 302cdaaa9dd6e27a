import fcntl
import inspect
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath

from avssl.data.lock import folder_lock
from avssl.data.open import open_source
from avssl.data.records import StoredRecord
from avssl.data.shard_writer import default_num_shards
from avssl.data.store import Dropped, StoreWriter
from avssl.errors import UsageError


def record(index: int, size: int = 3000) -> StoredRecord | Dropped:
    if index % 7 == 3:
        return Dropped(f"k{index}", "because")
    media = np.random.default_rng(index).bytes(size)
    label = index % 2
    return StoredRecord(f"k{index}", media, label, has_audio=index % 5 > 0, truth={"i": index})


def writer(out, **changes) -> StoreWriter:
    options = {
        "split": "train",
        "num_records": 30,
        "num_shards": 4,
        "settings": {"a": 1},
        "label_names": ["x", "y"],
        "source": "here",
    }
    return StoreWriter(str(out), **{**options, **changes})


def write_all(out, order=None, **changes):
    with writer(out, **changes) as store:
        for index in order or store.pending():
            store.add(index, record(index))
        return store.finish()


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_what_was_written_is_read(tmp_path):
    report = write_all(tmp_path / "out")
    assert (report["kept"], report["without_audio"]) == (26, 5)
    assert report["dropped_by_reason"] == {"because": 4}
    source = open_source(f"tfds:{tmp_path / 'out'}")
    wanted = [record(index) for index in range(30) if index % 7 != 3]
    assert [source.key(index) for index in range(26)] == [each.key for each in wanted]
    assert source[5].media == wanted[5].media
    assert source[5].truth == {"i": 6}
    assert sorted(content(tmp_path / "out")) == [
        *(f"avssl-train.array_record-0000{shard}-of-00004" for shard in range(4)),
        "build_report.json",
        "dataset_info.json",
        "features.json",
        "label.labels.txt",
        "records-train.npz",
    ]


def test_tfds_reads_sub_splits(tmp_path):
    write_all(tmp_path / "out")
    builder = tfds.builder_from_directory(tmp_path / "out")
    half = builder.as_data_source("train[50%:]")
    assert len(half) == 13
    assert half[0]["key"] == open_source(f"tfds:{tmp_path / 'out'}@train[50%:]").key(0).encode()
    assert builder.info.features["label"].names == ["x", "y"]


def test_order_of_arrival_does_not_matter(tmp_path):
    write_all(tmp_path / "one")
    write_all(tmp_path / "two", order=np.random.default_rng(0).permutation(30).tolist())
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("num_shards", [1, 7, 30])
def test_every_record_belongs_to_one_shard(tmp_path, num_shards):
    with writer(tmp_path / "out", num_shards=num_shards) as store:
        assert store.pending() == list(range(30))
        for index in store.pending():
            store.add(index, record(index))
        assert store.pending() == []
        assert store.finish()["kept"] == 26
    # A shard all of whose records were dropped is empty, and no obstacle.
    assert len(open_source(f"tfds:{tmp_path / 'out'}")) == 26


def test_goes_on_from_whole_shards(tmp_path):
    write_all(tmp_path / "unbroken")
    out = tmp_path / "out"
    with writer(out) as store:
        for index in range(17):
            store.add(index, record(index))
    with pytest.raises(UsageError, match="unfinished build"):
        open_source(f"tfds:{out}")
    with writer(out) as store:
        assert store.pending()[0] == 15
        for index in store.pending():
            store.add(index, record(index))
        store.finish()
    assert content(out) == content(tmp_path / "unbroken")


SAMPLES = "\n".join(
    [
        "import os, pathlib, sys, numpy as np",
        "from avssl.data.records import ShardWriter, StoredRecord",
        "from avssl.data.store import Dropped, StoreWriter",
        inspect.getsource(record),
        inspect.getsource(writer),
    ]
)
KILLED = (
    SAMPLES
    + """
moment, calls = int(sys.argv[2]), 0
def dying(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), 9)
        return function(*args, **kwargs)
    return call
# Before every change that another run can see on the disk.
os.replace, os.fsync = dying(os.replace), dying(os.fsync)
pathlib.Path.replace = dying(pathlib.Path.replace)
ShardWriter.write = dying(ShardWriter.write)
with writer(sys.argv[1]) as store:
    for index in store.pending():
        store.add(index, record(index))
    store.finish()
"""
)


def test_killed_at_any_moment_it_goes_on_without_help(tmp_path):
    """No run after a kill needs a clean-up, and the end is the same."""
    write_all(tmp_path / "unbroken")
    out = tmp_path / "out"
    num_kills = 0
    # The first in the middle of a shard, the next ones around its end, the last ones in the
    # metadata.
    for moment in (3, 9, 10, 11, 15, 10, 1, 3, 5, 7, 10**6):
        command = [sys.executable, "-c", KILLED, str(out), str(moment)]
        code = subprocess.run(command, check=False, capture_output=True).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL
        num_kills += 1
        if (out / "dataset_info.json").exists():
            assert len(open_source(f"tfds:{out}")) == 26
    assert num_kills >= 6
    assert content(out) == content(tmp_path / "unbroken")


def test_finished_store_is_left_alone(tmp_path):
    out = tmp_path / "out"
    first = write_all(out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    with writer(out) as store:
        assert store.complete
        assert store.pending() == []
        assert store.finish() == first
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    with pytest.raises(UsageError, match=r"other settings \(a: 1, now 2\)"):
        writer(out, settings={"a": 2}).__enter__()


def test_unfinished_store_with_other_settings_is_refused(tmp_path):
    with writer(tmp_path / "out"):
        pass
    with pytest.raises(UsageError, match="holds an unfinished build with other settings"):
        writer(tmp_path / "out", settings={"a": 2}).__enter__()


def test_a_lock_on_a_file_that_was_removed_keeps_nobody_out(tmp_path, monkeypatch):
    path = epath.Path(tmp_path / "work" / "lock")
    flock, removed = fcntl.flock, []

    def removed_meanwhile(descriptor, how):
        if not removed:
            removed.append(path.unlink())
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with folder_lock(path, what="out", wait=False):
        assert removed
        second = folder_lock(path, what="out", wait=False)
        with pytest.raises(UsageError, match="another process"), second:
            pass


def test_second_writer_is_refused(tmp_path):
    with writer(tmp_path / "out"), pytest.raises(UsageError, match="another process is writing"):
        writer(tmp_path / "out").__enter__()


def test_one_that_writes_all_and_hosts_that_share_keep_each_other_out(tmp_path):
    out = tmp_path / "out"
    refused = pytest.raises(UsageError, match="another process is writing")
    with writer(out, host=0, num_hosts=2) as first, writer(out, host=1, num_hosts=2) as second:
        assert (first.num_own_records, second.num_own_records) == (14, 16)
        for rival in (dict(), dict(host=1, num_hosts=2)):
            with refused:
                writer(out, **rival).__enter__()
    with writer(out), refused:
        writer(out, host=0, num_hosts=2).__enter__()


def test_only_what_a_killed_writer_left_is_removed(tmp_path):
    out = tmp_path / "out"
    with writer(out):
        pass
    left = [out / ".train.npz.0123abcd.tmp", out / ".build" / "00001.tmp"]
    others = [out / "notes.tmp", out / ".notes.tmp"]
    for file in (*left, *others):
        file.write_bytes(b"x")
    with writer(out):
        assert not any(file.exists() for file in left)
    assert all(file.exists() for file in others)


def test_nothing_kept_leaves_a_report_alone(tmp_path):
    out = tmp_path / "out"
    with writer(out) as store:
        for index in store.pending():
            store.add(index, Dropped(f"k{index}", "no"))
        assert store.finish()["kept"] == 0
    assert [path.name for path in out.iterdir()] == ["build_report.json"]
    assert write_all(out)["kept"] == 26


def test_places_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is not a folder"):
        writer(tmp_path / "file").__enter__()
    with pytest.raises(UsageError, match="is not a folder"):
        writer(tmp_path / "file" / "out").__enter__()
    (tmp_path / "full" / "notes").mkdir(parents=True)
    with pytest.raises(UsageError, match="it holds 'notes'"):
        writer(tmp_path / "full").__enter__()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataset_info.json").write_text("{}")
    with pytest.raises(UsageError, match="of another program"):
        writer(tmp_path / "other").__enter__()


def test_read_only_folder(tmp_path, monkeypatch):
    # Root may write anywhere, so the system's answer is given by hand.
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("avssl.data.shard_writer.write_whole", refuse)
    with pytest.raises(UsageError, match=r"cannot be written to \(Permission denied\)"):
        writer(tmp_path / "out").__enter__()


FULL = (
    SAMPLES
    + """
import resource, signal
from avssl.errors import AvsslError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with writer(sys.argv[1]) as store:
        for index in store.pending():
            store.add(index, record(index, 30_000))
except AvsslError as error:
    print(error)
"""
)


def test_full_disk_says_how_much_is_missing_and_leaves_no_half_file(tmp_path):
    """A limit on the size of files stands in for the disk: the writer meets it as it does that."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", FULL, str(out)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f"no room left in '{out}'" in said
    needed = int(said.partition("about ")[2].split()[0])
    assert 26 * 30_000 < needed < 2 * 26 * 30_000 + 4 * 2**17
    left = [path.name for path in out.rglob("*") if path.is_file()]
    assert sorted(left) == ["lock", "settings.json"]


def test_a_class_that_the_source_does_not_have_is_refused(tmp_path):
    with (
        pytest.raises(UsageError, match="record of class 'cat', which is none of its classes"),
        writer(tmp_path / "out") as store,
    ):
        store.add(0, StoredRecord("k", b"m", truth={"classes": ["cat"]}))


def test_number_of_shards():
    assert [default_num_shards(num) for num in (1, 15, 16, 100, 1000, 10**6)] == [
        1, 1, 1, 6, 8, 3907,
    ]  # fmt: skip


def test_report_is_json_with_every_name(tmp_path):
    write_all(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "build_report.json").read_text())
    assert [entry["key"] for entry in report["dropped"]] == ["k3", "k10", "k17", "k24"]
