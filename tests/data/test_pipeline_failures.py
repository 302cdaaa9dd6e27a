"""Records that cannot be read, decoders that hang, workers that die: said by name, and never a lost slot."""

import multiprocessing
import os
import sys
import threading
import time

import numpy as np
import pytest

from avssl.data import iterator, reader
from avssl.data.feed import DeviceFeed
from avssl.data.pipeline import Pipeline, evaluation_batches
from avssl.data.workers import Watch, check_shared_memory
from avssl.errors import AvsslError, UsageError
from avssl.media.errors import MediaError
from avssl.media.limits import Limits
from tests.data.pipelines import AUDIO, BATCH, VIEWS, leaves, take


def test_an_unreadable_record_gives_its_slot_to_the_next(damaged_source):
    for batch in take(Pipeline(damaged_source, VIEWS, batch_size=BATCH, seed=3), 6):
        for row in np.flatnonzero(batch["fault"] >= 0):
            assert batch["fault"][row] == 5
            assert batch["index"][row] == 6
            assert batch["label"][row] == 0
            assert not batch["valid"][row]
            assert batch["views"]["video"][row].any()
        readable = batch["fault"] < 0
        assert batch["valid"][readable].all()
        assert (batch["index"][readable] != 5).all()


def test_a_substitute_comes_from_the_records_in_use(list_source, clips):
    media = list(clips)
    media[4] = None
    pipeline = Pipeline(
        list_source(media), {"audio": AUDIO}, batch_size=3, seed=0, indices=np.array([1, 4, 9])
    )
    batches = take(pipeline, 4)
    faults = [batch for batch in batches if (batch["fault"] >= 0).any()]
    assert len(faults) == 4
    for batch in batches:
        assert set(batch["index"].tolist()) == {1, 9}
        assert (batch["index"][batch["fault"] == 4] == 9).all()


def test_names_of_says_which_files_and_why(damaged_source):
    pipeline = Pipeline(damaged_source, VIEWS, batch_size=BATCH, seed=3)
    named = dict(pipeline.names_of([5, 6]))
    assert "is not media" in named["list/5"]
    assert named["list/6"] == "readable now"


def test_data_that_cannot_be_read_at_all_ends_the_run(list_source):
    pipeline = Pipeline(list_source([None] * 30), VIEWS, batch_size=4, seed=0)
    with pytest.raises(AvsslError, match=r"neither 'list/.*nor any of 16 others.*data verify list"):
        take(pipeline, 1)


def test_any_other_failure_names_the_record(list_source, clips, monkeypatch):
    def fail(*_, **__):
        raise KeyError("nothing to do with media")

    monkeypatch.setattr(reader, "crop_frames", fail)
    with pytest.raises(AvsslError, match=r"record 'list/\d+' of list: KeyError"):
        take(Pipeline(list_source(clips), VIEWS, batch_size=4, seed=0), 1)


def test_a_failed_evaluation_row_is_blank(list_source, clips, monkeypatch):
    def fail(*_):
        raise MediaError("sound is damaged")

    monkeypatch.setattr("avssl.data.decoded.Decoder.audio", fail)
    with evaluation_batches(list_source(clips), VIEWS, batch_size=4) as batches:
        batch = next(batches)
    assert not batch["mask"].any()
    assert not any(array.any() for _, array in leaves(batch["views"]))
    assert not any(array.any() for _, array in leaves(batch["present"]))
    assert not any(array.any() for _, array in leaves(batch["geometry"]))


def test_a_worker_starts_no_jax_backend_and_its_death_names_the_record(list_source, clips):
    class Poisoned(list_source):
        def __getitem__(self, index):
            if index == self.deadly:
                xla_bridge = sys.modules.get("jax._src.xla_bridge")
                clean = xla_bridge is None or not xla_bridge.backends_are_initialized()
                os._exit(42 if clean and os.environ["JAX_PLATFORMS"] == "cpu" else 13)
            return super().__getitem__(index)

    source = Poisoned(clips)
    indices = np.arange(4)
    order = np.concatenate(
        [b["index"] for b in take(Pipeline(list_source(clips), {"audio": AUDIO}, batch_size=2,
                                           seed=0, indices=indices), 2)]
    )  # fmt: skip
    source.deadly = int(order[-1])
    pipeline = Pipeline(source, {"audio": AUDIO}, batch_size=2, seed=0, workers=1, indices=indices)
    # The worker reads ahead: it may be gone before the first batch is asked for.
    died = pytest.raises(AvsslError, match=f"died while reading 'list/{source.deadly}'.*code 42")
    with pipeline.batches() as batches, died:
        for _ in range(2):
            next(batches)


@pytest.mark.parametrize("feed", [False, True], ids=["read", "fed"])
def test_a_decoder_that_hangs_is_named(list_source, clips, monkeypatch, feed):
    monkeypatch.setattr(iterator, "STALL_GRACE_SECONDS", 0.15)
    monkeypatch.setattr(iterator, "LOOK_SECONDS", 0.02)
    release = threading.Event()
    monkeypatch.setattr("avssl.data.decoded.Decoder.audio", lambda *_: release.wait())
    limits = Limits(max_decode_seconds=0.1)
    pipeline = Pipeline(list_source(clips), {"audio": AUDIO}, batch_size=2, seed=0, limits=limits)
    batches = pipeline.batches()
    reader = DeviceFeed(batches, lambda batch: batch) if feed else batches
    with reader:
        with pytest.raises(AvsslError, match=r"decoding 'list/\d+' hangs"):
            next(reader)
        release.set()
    assert not read_threads()


def read_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.mark.timeout(60)
def test_a_worker_that_hangs_is_named_and_ended(list_source, clips, monkeypatch):
    class Hanging(list_source):
        def __getitem__(self, index):
            if index == self.hangs:
                time.sleep(1000)
            return super().__getitem__(index)

    monkeypatch.setattr(iterator, "STALL_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(iterator, "LOOK_SECONDS", 0.02)
    source = Hanging(clips)
    source.hangs = 3
    limits = Limits(max_decode_seconds=0.4)
    options = {"batch_size": 1, "indices": np.arange(2, 5), "workers": 1, "limits": limits}
    with evaluation_batches(source, {"audio": AUDIO}, **options) as batches:
        assert next(batches)["index"].tolist() == [2]
        with pytest.raises(AvsslError, match="decoding 'list/3' hangs"):
            next(batches)
    assert not read_threads()
    assert not multiprocessing.active_children()


def test_a_pause_of_the_whole_process_is_no_stall(list_source, clips, monkeypatch):
    watch = Watch(1)
    pipeline = Pipeline(list_source(clips), {"audio": AUDIO}, batch_size=2, seed=0)
    with pipeline.batches() as batches, watch.reading(3):
        monkeypatch.setattr(batches, "_watch", watch)
        now = time.monotonic()
        batches._check_stall()
        monkeypatch.setattr(time, "monotonic", lambda: now + 1000.0)
        batches._check_stall()
        batches._check_stall()
    watch.close()


def test_a_closed_pipeline_leaves_its_batch_unread(list_source, clips, monkeypatch):
    reads = []

    def slow(self, handle, view, start):
        reads.append(handle.index)
        time.sleep(0.05)
        return np.zeros((view.num_samples, 1), np.int16)

    monkeypatch.setattr("avssl.data.decoded.Decoder.audio", slow)
    source = list_source(clips * 20)
    batches = Pipeline(source, {"audio": AUDIO}, batch_size=200, seed=0).batches()
    batches.start()
    time.sleep(0.2)
    batches.close()
    time.sleep(0.1)
    num_reads = len(reads)
    time.sleep(0.3)
    assert 0 < num_reads < 40
    assert len(reads) == num_reads


def test_too_little_shared_memory_is_said_before_the_start(tmp_path):
    with pytest.raises(UsageError, match=r"need .* MB of shared memory but .* fewer data.workers"):
        check_shared_memory(10**18, str(tmp_path))
    check_shared_memory(10**18, str(tmp_path / "not there"))
