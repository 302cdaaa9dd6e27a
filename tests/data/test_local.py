"""Records kept on the local disk: the same numbers, within a bound, whoever writes, dies or damages."""

import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from avssl.data import local
from avssl.data.local import INSIDE, LocalCache, keep_locally
from avssl.data.open import open_source
from avssl.data.records import StoredRecord, table_name
from avssl.data.store import StoreWriter
from avssl.errors import UsageError

NUM_RECORDS, RECORD_BYTES = 24, 20_000
KIB = 1 / 2**20  # in GiB


def write_store(out, *, seed: int = 0, turned: bool = False):
    store = StoreWriter(
        str(out), split="train", num_records=NUM_RECORDS, num_shards=3, settings={},
        label_names=(), source="here",
    )  # fmt: skip
    with store:
        for index in store.pending():
            # Another seed gives other sizes, of records whose shards are as long as before.
            media = np.random.default_rng((seed, index)).bytes(RECORD_BYTES + 7 * seed)
            media = media[::-1] if turned else media
            store.add(index, StoredRecord(f"k{index}", media, -1, 1.5))
        store.finish()
    return out


def opened(folder, cache: LocalCache):
    source = open_source(f"tfds:{folder}")
    keep_locally(source, cache)
    return source


def entries(folder) -> dict[str, Path]:
    found = (folder / INSIDE).rglob("*")
    return {path.name: path for path in found if path.is_file() and path.name.isdigit()}


def kept_bytes(folder) -> int:
    total = 0
    for path in (folder / INSIDE).rglob("*/*/*"):
        with contextlib.suppress(FileNotFoundError):  # others write and take out meanwhile
            total += path.stat().st_size
    return total


def age(folder, seconds: float) -> None:
    for path in (folder / INSIDE).rglob("*/*/*"):
        used_at = path.stat().st_mtime - seconds
        os.utime(path, (used_at, used_at))


def test_what_was_read_once_is_read_without_its_shards(tmp_path):
    store = write_store(tmp_path / "set")
    plain = [open_source(f"tfds:{store}")[index] for index in range(NUM_RECORDS)]
    source = opened(store, LocalCache(str(tmp_path / "near"), 1))
    assert [source[index] for index in range(NUM_RECORDS)] == plain
    # A worker gets a copy.
    source = pickle.loads(pickle.dumps(source))
    for shard in store.glob("*-of-*"):
        shard.unlink()
    assert [source[index] for index in range(NUM_RECORDS)] == plain


def test_parts_of_a_set_and_copies_of_it_share_their_records(tmp_path):
    one, two = write_store(tmp_path / "one"), write_store(tmp_path / "two")
    cache = LocalCache(str(tmp_path / "near"), 1)
    assert opened(one, cache)[5] == opened(two, cache)[5]
    source = open_source(f"tfds:{one}@train[4:8]")
    keep_locally(source, cache)
    assert source[1].key == "k5"
    assert len([*(tmp_path / "near" / INSIDE).rglob("*/*/*")]) == 1


def test_another_set_under_the_same_name_is_not_mixed_up(tmp_path):
    cache = LocalCache(str(tmp_path / "near"), 1)
    store = write_store(tmp_path / "set")
    before = opened(store, cache)[3]
    for path in store.iterdir():
        path.unlink()
    write_store(store, seed=1)
    after = opened(store, cache)[3]
    assert after.key == before.key
    assert after.media == np.random.default_rng((1, 3)).bytes(RECORD_BYTES + 7)


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: b"", lambda content: content[::-1]]
)
def test_a_damaged_entry_is_fetched_anew(tmp_path, capsys, damage):
    store = write_store(tmp_path / "set")
    source = opened(store, LocalCache(str(tmp_path / "near"), 1))
    truth = source[3]
    (path,) = entries(tmp_path / "near").values()
    path.write_bytes(damage(path.read_bytes()))
    assert source[3] == truth
    assert "is damaged and is fetched anew" in capsys.readouterr().err
    assert source[3] == truth
    assert capsys.readouterr().err == ""


def test_sets_of_other_programs_share_nothing(tmp_path):
    """They have no table, and here even equal names, keys and sizes."""
    cache = LocalCache(str(tmp_path / "near"), 1)
    folders = [write_store(tmp_path / f"far{turned:d}", turned=turned) for turned in (False, True)]
    for folder in folders:
        (folder / table_name("train")).unlink()
    for _ in range(2):
        one, other = (opened(folder, cache)[3] for folder in folders)
        assert one.key == other.key
        assert one.media == other.media[::-1] != other.media
    # Both are kept, and below the folder.
    assert kept_bytes(tmp_path / "near") > 2 * RECORD_BYTES
    with pytest.raises(ValueError, match="names no shard's content"):
        cache.put("/00000", 3, b"")


def test_the_bound_holds_and_what_was_used_longest_ago_goes(tmp_path):
    cache = LocalCache(str(tmp_path), 100 * KIB)
    for position in range(9):
        cache.put("set/00000", position, bytes(10_000))
        age(tmp_path, 60)
    assert cache.get("set/00000", 0) == bytes(10_000)
    # A later run.
    age(tmp_path, 3600)
    cache = LocalCache(str(tmp_path), 100 * KIB)
    assert cache.get("set/00000", 1) == bytes(10_000)
    for position in range(9, 12):
        cache.put("set/00000", position, bytes(10_000))
    assert kept_bytes(tmp_path) <= 100 * 1024
    left = {int(name) for name in entries(tmp_path)}
    # 0 and 1 were used after the others, 9 to 11 by this run.
    assert {0, 1, 9, 10, 11} <= left
    assert 2 not in left
    assert not left & {2, 3}


def test_an_epoch_does_not_push_itself_out(tmp_path):
    """Of a cache of half the set half is found in every later epoch; by last use alone it would be 15 %."""
    cache = LocalCache(str(tmp_path), 50 * 1024 * KIB)
    draws, found = np.random.default_rng(0), []
    for _ in range(3):
        hits = 0
        for number in draws.permutation(100):
            position = int(number)
            if cache.get("set/00000", position) is None:
                cache.put("set/00000", position, bytes(1024 * 1024 - local.DIGEST_BYTES))
            else:
                hits += 1
        found.append(hits)
    assert found == [0, 50, 50]


def test_leftovers_are_cleared_and_miscounting_is_mended(tmp_path):
    cache = LocalCache(str(tmp_path), 100 * KIB)
    cache.put("set/00000", 1, bytes(10_000))
    leftover = tmp_path / INSIDE / "set" / "00000" / ".00007.0123abcd.tmp"
    leftover.write_bytes(bytes(50_000))
    os.utime(leftover, (0, 0))
    (tmp_path / INSIDE / "used").write_text("999999999")
    cache.put("set/00000", 2, bytes(10_000))
    assert sorted(entries(tmp_path)) == ["00001", "00002"]
    assert not leftover.exists()
    assert int((tmp_path / INSIDE / "used").read_text()) == kept_bytes(tmp_path)


def test_a_disk_that_fails_is_said_once_and_reading_goes_on(tmp_path, capsys, monkeypatch):
    store = write_store(tmp_path / "set")
    source = opened(store, LocalCache(str(tmp_path / "near"), 1))
    truth = [source[index] for index in range(3)]

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local, "write_whole", full)
    assert source[4].key == "k4"
    assert source[5].key == "k5"
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1
    assert "lower data.local_cache_gib" in said
    assert [source[index] for index in range(3)] == truth
    assert len(entries(tmp_path / "near")) == 3


WRITER = """
import sys
import numpy as np
from avssl.data.local import LocalCache

cache, draws = LocalCache(sys.argv[1], float(sys.argv[2])), np.random.default_rng(int(sys.argv[3]))
cache.opened_at += 1e9  # nothing is this run's: all may go
print("ready", flush=True)
for number in draws.integers(0, 400, 100_000).tolist():
    kept, truth = cache.get("set/00000", number), number.to_bytes(2, "big") * 5000
    assert kept in (None, truth), number
    if kept is None:
        cache.put("set/00000", number, truth)
"""


def test_processes_share_the_folder_and_may_be_killed(tmp_path):
    """Four at once, killed one after the other: never a wrong record, never beyond the bound."""
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(1000 * KIB)]
    writers = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for seed in range(4)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        for writer in writers:
            time.sleep(0.3)
            assert kept_bytes(tmp_path) <= 1000 * 1024
            assert writer.poll() is None, writer.stderr and writer.stderr.read().decode()
            writer.send_signal(signal.SIGKILL)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    cache = LocalCache(str(tmp_path), 1000 * KIB)
    found = [cache.get("set/00000", number) for number in range(400)]
    assert sum(content is not None for content in found) > 50
    for number, content in enumerate(found):
        assert content in (None, number.to_bytes(2, "big") * 5000)


def test_what_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder, said in (("gs://bucket/near", "must be a local folder"),
                         (str(tmp_path / "file"), "cannot write to")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            LocalCache(folder, 1)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"no video")
    raw = open_source(f"folder:{tmp_path}/videos")
    cache = LocalCache(str(tmp_path / "near"), 1)
    with pytest.raises(UsageError, match="none: write it with `avssl data build`"):
        keep_locally(raw, cache)
    # Of a mix, what can be kept is.
    store = write_store(tmp_path / "set")
    mix = open_source(f"folder:{tmp_path}/videos+tfds:{store}")
    keep_locally(mix, cache)
    assert mix[1].key == "k0"
    assert len(entries(tmp_path / "near")) == 1
