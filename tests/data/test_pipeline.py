"""Batch k is a function of (seed, k): for any number of hosts and workers, any start, any cache."""

import multiprocessing
import os
import sys
import threading
import time

import jax
import numpy as np
import pytest

from avssl.data import iterator, reader
from avssl.data.feed import DeviceFeed
from avssl.data.pipeline import Pipeline, evaluation_batches, usable_indices
from avssl.data.views import AudioView, VideoView
from avssl.data.workers import Watch, check_shared_memory
from avssl.errors import AvsslError, UsageError
from avssl.media.errors import MediaError
from avssl.media.limits import Limits

VIDEO = VideoView(frames=2, fps=8.0, size=16, jitter_seconds=0.1)
AUDIO = AudioView(seconds=0.5, rate=4000)
VIEWS = {"video": VIDEO, "audio": AUDIO}
BATCH = 8


def take(pipeline, count, start=0):
    with pipeline.batches(start) as batches:
        return [next(batches) for _ in range(count)]


def leaves(tree, path=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def assert_same(expected, batches):
    assert len(expected) == len(batches)
    for one, other in zip(expected, batches, strict=True):
        one, other = dict(leaves(one)), dict(leaves(other))
        assert one.keys() == other.keys()
        for path, array in one.items():
            np.testing.assert_array_equal(array, other[path], err_msg=path)
            assert array.dtype == other[path].dtype


def joined(parts):
    """The global batches from those of the hosts."""
    if isinstance(parts[0], dict):
        return {key: joined([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def source(list_source, clips):
    media = list(clips)
    media[5] = None
    return list_source(media)


@pytest.fixture(scope="module")
def expected(source):
    """Six batches of one host without workers: what every other arrangement must give."""
    batches = take(Pipeline(source, VIEWS, batch_size=BATCH, seed=3), 6)
    assert any((batch["fault"] == 5).any() for batch in batches)
    return batches


def test_a_batch_has_the_promised_arrays(expected):
    batch = expected[0]
    assert batch["views"]["video"].shape == (BATCH, 2, 16, 16, 3)
    assert batch["views"]["video"].dtype == np.uint8
    assert batch["views"]["audio"].shape == (BATCH, 2000, 1)
    assert batch["views"]["audio"].dtype == np.int16
    assert set(batch["geometry"]["video"]) == {"start_seconds", "box", "flip"}
    assert set(batch["geometry"]["audio"]) == {"start_seconds"}
    assert batch["geometry"]["video"]["box"].shape == (BATCH, 4)
    dtypes = {key: batch[key].dtype.name for key in ("index", "label", "valid", "fault", "row")}
    assert dtypes == {"index": "int32", "label": "int32", "valid": "bool", "fault": "int32",
                      "row": "int32"}  # fmt: skip
    assert batch["row"].tolist() == list(range(BATCH))
    assert (batch["label"] == batch["index"] % 2).all()


def test_every_epoch_holds_each_record_once_in_another_order(list_source, clips):
    source = list_source(clips)
    batches = take(Pipeline(source, {"audio": AUDIO}, batch_size=4, seed=0), 6)
    order = np.concatenate([batch["index"] for batch in batches])
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12))
    assert order[:12].tolist() != order[12:].tolist()
    # Grain adds the epoch to its seed: seed 1 must not begin with the second epoch of seed 0.
    other = take(Pipeline(source, {"audio": AUDIO}, batch_size=4, seed=1), 3)
    assert order[12:].tolist() != np.concatenate([batch["index"] for batch in other]).tolist()


def test_with_replacement_no_sample_depends_on_those_before(list_source, clips):
    source = list_source(clips)
    options = {"batch_size": 4, "seed": 0, "with_replacement": True}
    order = Pipeline(source, {"audio": AUDIO}, **options)._order
    places = np.array([order[position][1] for position in range(2400)])
    often = np.bincount(places, minlength=12)
    # Of 2,400 draws each record has 200, with a deviation of 13.5.
    assert len(often) == 12
    assert np.all(np.abs(often - 200) < 55)
    # In epochs a record never follows itself within one; here it does once in twelve times.
    assert np.mean(places[1:] == places[:-1]) == pytest.approx(1 / 12, abs=0.02)

    batches = take(Pipeline(source, {"audio": AUDIO}, **options), 4)
    assert_same(batches[2:], take(Pipeline(source, {"audio": AUDIO}, **options), 2, 2))
    assert np.concatenate([batch["index"] for batch in batches]).tolist() == places[:16].tolist()


@pytest.mark.parametrize("owners", [[0, 1], [0, 1, 1, 0], [2, 0, 1, 3]])
def test_the_hosts_read_the_rows_of_one_global_batch(source, expected, owners):
    """Of each row, or of each run of rows, the host whose devices hold it."""
    owner = np.repeat(owners, BATCH // len(owners))
    rows = [np.flatnonzero(owner == host) for host in range(max(owners) + 1)]
    hosts = [take(Pipeline(source, VIEWS, batch_size=BATCH, seed=3, rows=own), 6) for own in rows]
    back = np.argsort(np.concatenate(rows))
    batches = [joined(list(parts)) for parts in zip(*hosts, strict=True)]
    assert_same(expected, [jax.tree.map(lambda leaf: leaf[back], one) for one in batches])


@pytest.mark.parametrize("rows", [[0, 1], [1, 3, 4]])
def test_a_host_evaluates_its_rows(source, rows):
    views = {name: view.evaluation() for name, view in VIEWS.items()}
    with evaluation_batches(source, views, batch_size=5) as batches:
        whole = list(batches)
    with evaluation_batches(source, views, batch_size=5, rows=np.array(rows)) as batches:
        assert_same([jax.tree.map(lambda leaf: leaf[rows], one) for one in whole], list(batches))


@pytest.mark.parametrize("start", [1, 4])
def test_a_resumed_run_goes_on_with_the_next_batch(source, expected, start):
    pipeline = Pipeline(source, VIEWS, batch_size=BATCH, seed=3)
    assert_same(expected[start:], take(pipeline, 6 - start, start))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_no_cache_changes_a_number(source, expected, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    pipeline = Pipeline(source, VIEWS, batch_size=BATCH, seed=3, cache=cache)
    assert_same(expected, take(pipeline, 6))
    # What the first iterator kept, the second is served from: but for the bad one, no file is read.
    media = [None] * len(source)
    monkeypatch.setattr(source, "media", media)
    assert_same(expected, take(pipeline, 6))


def test_no_number_of_workers_changes_a_number(source, expected):
    one = Pipeline(source, VIEWS, batch_size=BATCH, seed=3, workers=1)
    assert_same(expected, take(one, 6))
    # Resumed with other numbers of workers and hosts.
    three = Pipeline(
        source, VIEWS, batch_size=BATCH, seed=3, workers=3, rows=np.arange(BATCH)[1::2]
    )
    second_host = Pipeline(source, VIEWS, batch_size=BATCH, seed=3, rows=np.arange(BATCH)[1::2])
    assert_same(take(second_host, 4, 2), take(three, 4, 2))
    assert not multiprocessing.active_children()


def test_an_unreadable_record_gives_its_slot_to_the_next(source, expected):
    for batch in expected:
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


def test_names_of_says_which_files_and_why(source):
    pipeline = Pipeline(source, VIEWS, batch_size=BATCH, seed=3)
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


@pytest.mark.parametrize("said", ["rightly", "wrongly", "not at all"])
@pytest.mark.parametrize(("lacking", "other"), [("video", "audio"), ("audio", "video")])
def test_a_modality_that_a_record_lacks_is_zeros(list_source, clip_of, lacking, other, said):
    media = [clip_of(seed, **{lacking: False}) for seed in range(4)]
    facts = {f"has_{lacking}": False} if said == "rightly" else {}
    source = list_source(media, known=said != "not at all", **facts)
    batch = take(Pipeline(source, VIEWS, batch_size=4, seed=0), 1)[0]
    assert not batch["present"][lacking].any()
    assert not batch["views"][lacking].any()
    assert batch["present"][other].all()
    assert all(clip.any() for clip in batch["views"][other])
    assert batch["valid"].all()
    assert (batch["fault"] == -1).all()


def test_usable_records_are_those_with_the_modalities(list_source, clips):
    source = list_source(clips)
    has_audio = np.arange(12) % 3 > 0
    source.modalities = lambda: (np.ones(12, bool), has_audio)
    indices, num_left_out = usable_indices(source, ["video", "audio"])
    assert indices.tolist() == np.flatnonzero(has_audio).tolist()
    assert num_left_out == 4
    assert usable_indices(source, ["video"])[1] == 0
    has_video = np.arange(12) > 0
    source.modalities = lambda: (has_video, has_audio)
    assert usable_indices(source, [])[0].tolist() == list(range(1, 12))
    source.modalities = lambda: None
    assert len(usable_indices(source, ["audio"])[0]) == 12


def test_two_names_of_one_view_are_decoded_once(list_source, clips, monkeypatch):
    sizes = []
    crop = reader.crop_frames
    monkeypatch.setattr(reader, "crop_frames", lambda *args: (sizes.append(args[3]), crop(*args)))
    # A size of their own: a read thread of the test before may still be at its last record.
    one, other = VideoView(frames=2, size=24), VideoView(frames=3, size=24)
    views = {"a": one, "b": VideoView(**vars(one)), "c": other}
    with evaluation_batches(list_source(clips), views, batch_size=12) as batches:
        batch = next(batches)
    assert batch["views"]["a"] is batch["views"]["b"]
    assert batch["views"]["a"] is not batch["views"]["c"]
    assert sizes.count(24) == 24


def test_a_mix_is_exact_and_substitutes_within_a_part(list_source, clips):
    class Mix:
        def __init__(self, *parts):
            self.parts = parts
            self.spec = "a*3+b"
            self.sources = [(s, i) for s, _ in parts for i in range(len(s))]

        def __len__(self):
            return len(self.sources)

        def __getitem__(self, index):
            source, inside = self.sources[index]
            return type(source[inside])(**{**vars(source[inside]), "index": index})

        def key(self, index):
            source, inside = self.sources[index]
            return source.key(inside)

        def labels(self):
            return np.zeros(len(self), np.int32)

        def modalities(self):
            return None

    first = list_source(clips[:4], spec="a")
    second = list_source([*clips[4:8], None], spec="b")
    pipeline = Pipeline(Mix((first, 3.0), (second, 1.0)), {"audio": AUDIO}, batch_size=8, seed=0)
    batches = take(pipeline, 10)
    index = np.concatenate([batch["index"] for batch in batches])
    assert np.count_nonzero(index < 4) == 60
    assert np.bincount(index[index < 4]).tolist() == [15] * 4
    fault = np.concatenate([batch["fault"] for batch in batches])
    # Twenty draws of five records, one of them bad: its place is taken by the first of its own
    # part.
    assert np.count_nonzero(fault == 8) == 4
    assert (index[fault == 8] == 4).all()
    assert_same(batches[3:], take(pipeline, 7, 3))
    with pytest.raises(UsageError, match="'b' has no usable records"):
        Pipeline(pipeline.source, VIEWS, batch_size=2, seed=0, indices=np.arange(4))


def test_too_few_records_are_refused(source):
    with pytest.raises(UsageError, match="12 usable records, fewer than batch_size 16"):
        Pipeline(source, VIEWS, batch_size=16, seed=0)
    with pytest.raises(UsageError, match="2 usable records"):
        Pipeline(source, VIEWS, batch_size=4, seed=0, indices=np.arange(2))


def test_evaluation_is_one_ordered_pass_with_a_mask(source):
    views = {name: view.evaluation() for name, view in VIEWS.items()}
    with evaluation_batches(source, views, batch_size=5) as batches:
        all_batches = list(batches)
    assert len(all_batches) == 3
    mask = np.concatenate([batch["mask"] for batch in all_batches])
    index = np.concatenate([batch["index"] for batch in all_batches])
    assert index.tolist() == [*range(12), -1, -1, -1]
    assert np.flatnonzero(~mask).tolist() == [5, 12, 13, 14]
    last = all_batches[2]
    assert not last["views"]["video"][2:].any()
    assert all_batches[1]["fault"].tolist() == [5, -1, -1, -1, -1]
    chosen = np.array([7, 2])
    with evaluation_batches(source, views, batch_size=2, indices=chosen) as batches:
        batch = next(batches)
        assert next(batches, None) is None
    assert batch["index"].tolist() == [7, 2]
    np.testing.assert_array_equal(batch["views"]["video"][0], all_batches[1]["views"]["video"][2])


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


def test_no_batches_are_no_batches(list_source, clips):
    pipeline = Pipeline(list_source(clips), {"audio": AUDIO}, batch_size=2, seed=0)
    for start, stop in ((0, 0), (3, 3), (3, 1)):
        with pipeline.batches(start, stop) as batches:
            assert list(batches) == []


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


def test_too_little_shared_memory_is_said_before_the_start(list_source, clips, tmp_path):
    with pytest.raises(UsageError, match=r"need .* MB of shared memory but .* fewer data.workers"):
        check_shared_memory(10**18, str(tmp_path))
    check_shared_memory(10**18, str(tmp_path / "not there"))
