"""A set of many shards, as on a bucket: opening it looks at a few, reading looks at what is read."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from avssl.data.open import open_checked, open_source
from avssl.data.pipeline import Pipeline
from avssl.data.records import StoredRecord
from avssl.data.split_reader import NUM_CHECKED_AT_ONCE
from avssl.data.store import StoreWriter
from avssl.data.views import AudioView, VideoView
from avssl.errors import UsageError

NUM_RECORDS, NUM_SHARDS = 160, 40
CHECKED = np.unique(np.linspace(0, NUM_SHARDS - 1, NUM_CHECKED_AT_ONCE).astype(int)).tolist()
VIEWS = {
    "video": VideoView(frames=2, fps=8.0, size=16),
    "audio": AudioView(seconds=0.5, rate=4000),
}
io_counters = pytest.mark.skipif(
    not os.path.exists("/proc/self/io"), reason="needs Linux's counters of bytes read"
)
# What a look at a shard may take: its footer, its head and tail.
FOOTER_BYTES = 150_000


@pytest.fixture(scope="module")
def built(tmp_path_factory, clips):
    out = tmp_path_factory.mktemp("many") / "set"
    store = StoreWriter(
        str(out), split="train", num_records=NUM_RECORDS, num_shards=NUM_SHARDS, settings={},
        label_names=("even", "odd"), source="here",
    )  # fmt: skip
    with store:
        for index in store.pending():
            # Padded to what a clip of some seconds takes; decoders stop at the end of the clip.
            media = clips[index % len(clips)] + np.random.default_rng(index).bytes(400_000)
            store.add(index, StoredRecord(f"clip/{index}", media, index % 2, 2.0))
        store.finish()
    return out


@pytest.fixture
def linked(built, tmp_path):
    """The same set, of links to its shards, which may be taken away."""
    for path in built.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def shard(folder, number: int) -> Path:
    return folder / f"avssl-train.array_record-{number:05d}-of-{NUM_SHARDS:05d}"


def bytes_read() -> int:
    """Of this process, by any system call that reads."""
    return int(Path("/proc/self/io").read_text().split()[1])


def drain(pipeline, num_batches: int) -> list[int]:
    with pipeline.batches(stop_step=num_batches) as batches:
        return [index for batch in batches for index in batch["index"].tolist()]


def listed_folders(work) -> list[str]:
    """The folders that Python lists during `work`."""
    found, listening = [], True

    def hear(event, arguments):
        if listening and event in ("os.listdir", "os.scandir"):
            found.append(str(arguments[0]))

    sys.addaudithook(hear)
    work()
    listening = False
    return found


@io_counters
def test_opening_lists_nothing_and_reads_the_table_and_a_few_footers(built):
    open_source(f"tfds:{built}")  # imports and caches of TFDS
    metadata = sum(path.stat().st_size for path in built.iterdir() if "-of-" not in path.name)
    before = bytes_read()
    folders = listed_folders(lambda: open_source(f"tfds:{built}"))
    assert bytes_read() - before < 3 * metadata + len(CHECKED) * FOOTER_BYTES
    assert not [folder for folder in folders if str(built) in folder]


def test_only_a_few_shards_have_to_be_there(linked):
    for number in {*range(NUM_SHARDS)} - {*CHECKED}:
        shard(linked, number).unlink()
    source = open_source(f"tfds:{linked}")
    first = NUM_RECORDS // NUM_SHARDS
    assert source[0].key == "clip/0"
    assert 1 not in CHECKED
    for _ in range(2):
        with pytest.raises(UsageError, match=r"00001-of-00040' in .* is missing; copy it there"):
            source[first]
    with pytest.raises(UsageError, match=r"00001-of-00040' in .* is missing"):
        open_checked(f"tfds:{linked}")
    shard(linked, CHECKED[3]).unlink()
    with pytest.raises(UsageError, match=f"{CHECKED[3]:05d}-of-00040' in .* is missing"):
        open_source(f"tfds:{linked}")


@pytest.mark.parametrize(
    ("damage", "said", "workers"),
    [
        (lambda content, _: content[: len(content) // 2], "is cut or no ArrayRecord file", 0),
        (lambda _, other: other, "is not the one that was built here", 1),
    ],
)
def test_training_stops_at_a_shard_that_is_not_what_it_should_be(linked, damage, said, workers):
    """It takes no records of it as bad ones, in this process and in a worker."""
    path, other = shard(linked, 1), shard(linked, 2)
    content = damage(path.read_bytes(), other.read_bytes())
    path.unlink()
    path.write_bytes(content)
    source = open_source(f"tfds:{linked}")
    pipeline = Pipeline(source, VIEWS, batch_size=32, seed=0, workers=workers)
    with pytest.raises(UsageError, match=f"shard '{path.name}' in .* {said}"):
        drain(pipeline, NUM_RECORDS // 32)


@io_counters
def test_a_host_reads_its_rows_and_no_more(built):
    """Host 0 of 4, over an epoch: a quarter of the bytes, and a footer of each shard."""
    source = open_source(f"tfds:{built}")
    pipeline = Pipeline(source, VIEWS, batch_size=32, seed=0, rows=np.arange(8))
    drain(pipeline, 1)
    source = open_source(f"tfds:{built}")
    pipeline = Pipeline(source, VIEWS, batch_size=32, seed=0, rows=np.arange(8))
    before = bytes_read()
    indices = drain(pipeline, NUM_RECORDS // 32)
    taken = bytes_read() - before
    assert len(set(indices)) == NUM_RECORDS // 4
    own = source.table.num_bytes[indices].sum()
    assert own <= taken <= 1.02 * own + NUM_SHARDS * FOOTER_BYTES


def test_a_copy_for_a_worker_knows_the_marks(linked):
    path = shard(linked, 1)
    path.unlink()
    path.write_bytes(shard(linked, 2).read_bytes())
    copy = pickle.loads(pickle.dumps(open_source(f"tfds:{linked}")))
    with pytest.raises(UsageError, match="is not the one that was built here"):
        copy[NUM_RECORDS // NUM_SHARDS]
