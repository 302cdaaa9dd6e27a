"""Batch k is a function of (seed, k): for any number of hosts and workers, any start, any cache."""

import multiprocessing

import jax
import numpy as np
import pytest

from avssl.data import reader
from avssl.data.pipeline import Pipeline, evaluation_batches, usable_indices
from avssl.data.views import VideoView
from avssl.errors import UsageError
from tests.data.pipelines import AUDIO, BATCH, VIEWS, assert_same, take


def joined(parts):
    """The global batches from those of the hosts."""
    if isinstance(parts[0], dict):
        return {key: joined([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def expected(damaged_source):
    """Six batches of one host without workers: what every other arrangement must give."""
    batches = take(Pipeline(damaged_source, VIEWS, batch_size=BATCH, seed=3), 6)
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
def test_the_hosts_read_the_rows_of_one_global_batch(damaged_source, expected, owners):
    """Of each row, or of each run of rows, the host whose devices hold it."""
    owner = np.repeat(owners, BATCH // len(owners))
    rows = [np.flatnonzero(owner == host) for host in range(max(owners) + 1)]
    hosts = [
        take(Pipeline(damaged_source, VIEWS, batch_size=BATCH, seed=3, rows=own), 6) for own in rows
    ]
    back = np.argsort(np.concatenate(rows))
    batches = [joined(list(parts)) for parts in zip(*hosts, strict=True)]
    assert_same(expected, [jax.tree.map(lambda leaf: leaf[back], one) for one in batches])


@pytest.mark.parametrize("rows", [[0, 1], [1, 3, 4]])
def test_a_host_evaluates_its_rows(damaged_source, rows):
    views = {name: view.evaluation() for name, view in VIEWS.items()}
    with evaluation_batches(damaged_source, views, batch_size=5) as batches:
        whole = list(batches)
    with evaluation_batches(damaged_source, views, batch_size=5, rows=np.array(rows)) as batches:
        assert_same([jax.tree.map(lambda leaf: leaf[rows], one) for one in whole], list(batches))


@pytest.mark.parametrize("start", [1, 4])
def test_a_resumed_run_goes_on_with_the_next_batch(damaged_source, expected, start):
    pipeline = Pipeline(damaged_source, VIEWS, batch_size=BATCH, seed=3)
    assert_same(expected[start:], take(pipeline, 6 - start, start))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_no_cache_changes_a_number(damaged_source, expected, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path))
    pipeline = Pipeline(damaged_source, VIEWS, batch_size=BATCH, seed=3, cache=cache)
    assert_same(expected, take(pipeline, 6))
    # What the first iterator kept, the second is served from: but for the bad one, no file is read.
    media = [None] * len(damaged_source)
    monkeypatch.setattr(damaged_source, "media", media)
    assert_same(expected, take(pipeline, 6))


def test_no_number_of_workers_changes_a_number(damaged_source, expected):
    one = Pipeline(damaged_source, VIEWS, batch_size=BATCH, seed=3, workers=1)
    assert_same(expected, take(one, 6))
    # Resumed with other numbers of workers and hosts.
    three = Pipeline(
        damaged_source, VIEWS, batch_size=BATCH, seed=3, workers=3, rows=np.arange(BATCH)[1::2]
    )
    second_host = Pipeline(
        damaged_source, VIEWS, batch_size=BATCH, seed=3, rows=np.arange(BATCH)[1::2]
    )
    assert_same(take(second_host, 4, 2), take(three, 4, 2))
    assert not multiprocessing.active_children()


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


def test_too_few_records_are_refused(damaged_source):
    with pytest.raises(UsageError, match="12 usable records, fewer than batch_size 16"):
        Pipeline(damaged_source, VIEWS, batch_size=16, seed=0)
    with pytest.raises(UsageError, match="2 usable records"):
        Pipeline(damaged_source, VIEWS, batch_size=4, seed=0, indices=np.arange(2))


def test_evaluation_is_one_ordered_pass_with_a_mask(damaged_source):
    views = {name: view.evaluation() for name, view in VIEWS.items()}
    with evaluation_batches(damaged_source, views, batch_size=5) as batches:
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
    with evaluation_batches(damaged_source, views, batch_size=2, indices=chosen) as batches:
        batch = next(batches)
        assert next(batches, None) is None
    assert batch["index"].tolist() == [7, 2]
    np.testing.assert_array_equal(batch["views"]["video"][0], all_batches[1]["views"]["video"][2])


def test_no_batches_are_no_batches(list_source, clips):
    pipeline = Pipeline(list_source(clips), {"audio": AUDIO}, batch_size=2, seed=0)
    for start, stop in ((0, 0), (3, 3), (3, 1)):
        with pipeline.batches(start, stop) as batches:
            assert list(batches) == []
