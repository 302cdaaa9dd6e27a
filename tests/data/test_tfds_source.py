import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from avssl.data.open import open_source
from avssl.data.record import known_class_sets, tags_of
from avssl.data.records import StoredRecord
from avssl.data.split_reader import SplitReader, SplitShards
from avssl.data.store import StoreWriter
from avssl.data.table import RecordTable
from avssl.errors import UsageError
from avssl.media.errors import MediaError

NUM_RECORDS, NUM_SHARDS = 20, 3
SHARDS = [f"avssl-train.array_record-{shard:05d}-of-00003" for shard in range(NUM_SHARDS)]


def write_store(out, *, seed: int = 0, label_names=("x", "y"), split: str = "train") -> None:
    store = StoreWriter(
        str(out), split=split, num_records=NUM_RECORDS, num_shards=NUM_SHARDS, settings={},
        label_names=label_names, source="here",
    )  # fmt: skip
    with store:
        for index in store.pending():
            media = np.random.default_rng((seed, index)).bytes(9000)
            label = index % 2 if label_names else -1
            store.add(index, StoredRecord(f"{seed}/{index}", media, label, 1.5))
        store.finish()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("stores") / "set"
    write_store(out)
    return out


@pytest.fixture
def store(built, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(built, tmp_path / "set")


def keys(source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def test_opening_reads_the_table_once_and_a_copy_knows_its_fingerprint(built, monkeypatch):
    reads, read = [], RecordTable.read.__func__

    def counted(cls, path):
        reads.append(path)
        return read(cls, path)

    monkeypatch.setattr(RecordTable, "read", classmethod(counted))
    source = open_source(f"tfds:{built}")
    fingerprint = source.fingerprint
    assert len(reads) == 1
    assert pickle.loads(pickle.dumps(source)).fingerprint == fingerprint
    assert len(reads) == 1


def test_records_keys_labels_and_facts(built):
    source = open_source(f"tfds:{built}")
    assert len(source) == NUM_RECORDS
    assert source.label_names == ("x", "y")
    for index in (0, 6, 19):
        record = source[np.int64(index)]
        assert record.key == source.key(index) == f"0/{index}"
        assert record.media == np.random.default_rng((0, index)).bytes(9000)
        assert (record.index, record.label) == (index, index % 2)
        assert (record.duration_seconds, record.has_video, record.has_audio) == (1.5, True, True)
    assert source.labels().dtype == np.int32
    assert [facts.all() for facts in source.modalities()] == [True, True]
    for index in (-1, NUM_RECORDS):
        with pytest.raises(IndexError):
            source[index]


@pytest.mark.parametrize(
    ("split", "indices"),
    [
        ("train[:90%]", range(18)),
        ("train[3:9]", range(3, 9)),
        ("train[-2:]+train[:2]", [18, 19, 0, 1]),
    ],
)
def test_sub_splits(built, split, indices):
    source = open_source(f"tfds:{built}@{split}")
    assert keys(source) == [f"0/{index}" for index in indices]
    np.testing.assert_array_equal(source.labels(), [index % 2 for index in indices])
    assert [source[i].key for i in range(len(source))] == keys(source)
    assert [source[i].index for i in range(len(source))] == list(range(len(source)))


def test_travels_light(built):
    source = open_source(f"tfds:{built}@train[2:]")
    _ = source[0], source.labels()
    sent = pickle.dumps(source)
    assert len(sent) < 5000
    copy = pickle.loads(sent)
    assert copy[4] == source[4]
    assert copy.fingerprint == source.fingerprint


def test_fingerprint_is_of_the_content(built, tmp_path):
    write_store(tmp_path / "same")
    write_store(tmp_path / "other", seed=1)
    same, other = (open_source(f"tfds:{tmp_path / name}") for name in ("same", "other"))
    assert open_source(f"tfds:{built}").fingerprint == same.fingerprint != other.fingerprint


def test_awkward_class_names_come_back(tmp_path):
    write_store(tmp_path / "set", label_names=("a\nb", " "))
    assert open_source(f"tfds:{tmp_path / 'set'}").label_names == ("a\nb", " ")


def test_without_classes(tmp_path):
    write_store(tmp_path / "set", label_names=())
    source = open_source(f"tfds:{tmp_path / 'set'}")
    assert source.label_names == ()
    assert set(source.labels()) == {-1}


def damage_missing(store, _):
    (store / SHARDS[1]).unlink()


def damage_empty(store, _):
    (store / SHARDS[1]).write_bytes(b"")


def damage_cut(store, _):
    content = (store / SHARDS[1]).read_bytes()
    (store / SHARDS[1]).write_bytes(content[: len(content) * 2 // 3])


def damage_text(store, _):
    (store / SHARDS[1]).write_bytes(b"no shard at all" * 20_000)


def damage_swapped(store, _):
    # Shards 1 and 2 hold seven records each, so that counting them tells nothing.
    shutil.copy(store / SHARDS[2], store / SHARDS[1])


def damage_foreign(store, other):
    shutil.copy(other / SHARDS[1], store / SHARDS[1])


def damage_extra(store, _):
    shutil.copy(store / SHARDS[1], store / "avssl-train.array_record-00003-of-00004")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, r"00001-of-00003' .* is missing"),
        (damage_empty, r"00001-of-00003' .* is cut or no ArrayRecord"),
        (damage_cut, r"00001-of-00003' .* is cut or no ArrayRecord"),
        (damage_text, r"00001-of-00003' .* is cut or no ArrayRecord"),
        (damage_swapped, r"00001-of-00003' .* is not the one that was built"),
        (damage_foreign, r"00001-of-00003' .* is not the one that was built"),
    ],
)
def test_damaged_stores_are_refused_by_the_shards_name(store, tmp_path, damage, message):
    write_store(tmp_path / "other", seed=1)
    damage(store, tmp_path / "other")
    with pytest.raises(UsageError, match=message):
        open_source(f"tfds:{store}")


def test_a_shard_too_many_is_refused_by_who_reads_everything(store, run, tmp_path):
    damage_extra(store, None)
    assert len(open_source(f"tfds:{store}")) == NUM_RECORDS
    for words in (("verify", f"tfds:{store}"), ("build", f"tfds:{store}", tmp_path / "out")):
        code, _, err = run("data", *words)
        assert code == 2
        assert "00003-of-00004' in" in err
        assert "is not in its metadata" in err


def test_table_of_another_set_is_refused(store, tmp_path):
    with StoreWriter(
        str(tmp_path / "other"), split="train", num_records=3, num_shards=3, settings={},
        label_names=(), source="here",
    ) as other:  # fmt: skip
        for index in other.pending():
            other.add(index, StoredRecord(str(index), b"m"))
        other.finish()
    shutil.copy(tmp_path / "other" / "records-train.npz", store)
    with pytest.raises(UsageError, match=r"is not the one that was built|another data set"):
        open_source(f"tfds:{store}")


@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_bit_is_never_silent(store, seed):
    """Refused when opened, or one MediaError that names shard and record, or without any effect."""
    truth = [open_source(f"tfds:{store}")[index] for index in range(NUM_RECORDS)]
    content = bytearray((store / SHARDS[1]).read_bytes())
    draws = np.random.default_rng(seed)
    content[draws.integers(len(content))] ^= 1 << int(draws.integers(8))
    (store / SHARDS[1]).write_bytes(content)
    try:
        source = open_source(f"tfds:{store}")
    except UsageError as error:
        found = [str(error)]
    else:
        found = [found_wrong(source, truth[index]) for index in range(NUM_RECORDS)]
    found = [said for said in found if said is not None]
    assert len(found) <= 1
    assert all(SHARDS[1] in said for said in found)


def found_wrong(source, truth) -> str | None:
    try:
        assert source[truth.index] == truth
    except MediaError as error:
        return str(error)
    return None


def test_a_shard_that_was_swapped_since_is_noticed_when_read(store):
    source = open_source(f"tfds:{store}")
    shutil.copy(store / SHARDS[2], store / SHARDS[1])
    with pytest.raises(UsageError, match=r"00001-of-00003' .* is not the one that was built"):
        source[6]


def test_a_record_of_another_key_is_noticed_when_read(store):
    shards, reader = SplitShards(str(store), "train", tuple(SHARDS), (6, 7, 7)), SplitReader()
    assert reader.read(shards, 1, 0, "0/6")["key"] == b"0/6"
    with pytest.raises(MediaError, match="is not '0/6' but another record"):
        reader.read(shards, 2, 0, "0/6")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{root}/none", "does not exist"),
        ("{root}", "did you mean tfds:{root}/set"),
        ("{root}/set@trian", "did you mean 'train'"),
        ("{root}/set@train[", "cannot be read"),
        ("{root}/set@train[:200%]", "cannot be read: When unit=%"),
        ("{root}/set@train[99:]", "cannot be read"),
        ("{root}/set@train[5:5]", "holds no records"),
    ],
)
def test_wrong_specs(store, spec, message):
    spec, message = (text.format(root=store.parent) for text in (spec, message))
    with pytest.raises(UsageError) as caught:
        open_source(f"tfds:{spec}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_metadata(store, name):
    (store / name).write_text('{"half": ')
    with pytest.raises(UsageError, match=r"metadata of '.*' cannot be read"):
        open_source(f"tfds:{store}")


def write_others(out, features: dict, examples: list[dict]) -> None:
    """A TFDS set as another program writes it: without our table, two splits."""
    out.mkdir()
    schema = tfds.features.FeaturesDict(features)
    infos = []
    for split, chosen in (("train", examples[:-1]), ("test", examples[-1:])):
        writer = ArrayRecordWriter(
            str(out / f"theirs-{split}.array_record-00000-of-00001"), "group_size:1"
        )
        for example in chosen:
            writer.write(schema.serialize_example(schema.encode_example(example)))
        writer.close()
        template = tfds.core.ShardedFileTemplate(
            data_dir=out, template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            dataset_name="theirs", split=split, filetype_suffix="array_record",
        )  # fmt: skip
        infos.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=[len(chosen)], num_bytes=0, filename_template=template
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=out, features=schema, split_infos=infos, check_data=False
    )


BYTES = tfds.features.Tensor(shape=(), dtype=np.object_)


def test_other_peoples_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path / "cache"))
    features = {"media": BYTES, "label": tfds.features.ClassLabel(names=["p", "q"]),
                "extra": tfds.features.Scalar(np.int64)}  # fmt: skip
    examples = [{"media": bytes([i]) * 9, "label": i % 2, "extra": 5} for i in range(5)]
    write_others(tmp_path / "set", features, examples)
    source = open_source(f"tfds:{tmp_path / 'set'}")
    assert keys(source) == [f"train/{index}" for index in range(4)]
    assert source.label_names == ("p", "q")
    assert source[3].media == b"\3" * 9
    assert source[3].label == 1
    assert source.modalities() is None
    assert source[3].has_video is None
    assert len(list((tmp_path / "cache" / "tables").iterdir())) == 1
    both = open_source(f"tfds:{tmp_path / 'set'}@test+train")
    assert keys(both) == ["test/0", *keys(source)]
    assert open_source(f"tfds:{tmp_path / 'set'}").fingerprint == source.fingerprint


def test_other_peoples_numbers_as_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSSL_CACHE", str(tmp_path / "cache"))
    features = {"media": BYTES, "label": tfds.features.Scalar(np.int64),
                "key": tfds.features.Text()}  # fmt: skip
    write_others(
        tmp_path / "set", features, [{"media": b"m", "label": i, "key": f"é{i}"} for i in (2, 0, 1)]
    )
    source = open_source(f"tfds:{tmp_path / 'set'}")
    assert source.label_names == ("0", "1", "2")
    assert keys(source) == ["é2", "é0"]


def test_sets_without_media_are_refused(tmp_path):
    write_others(tmp_path / "set", {"image": BYTES}, [{"image": b"1"}, {"image": b"2"}])
    with pytest.raises(UsageError, match="no feature 'media'"):
        open_source(f"tfds:{tmp_path / 'set'}")


@pytest.mark.parametrize("split", ["train", "train[2:]", "train[3:]+train[:3]"])
def test_all_classes_of_records_are_known_without_reading_them(tmp_path, split):
    names = ("x", "y", "z")
    told = [
        {"classes": ["z", "x"], "ignored": ["y"]}, {}, {"classes": [], "ignored": ["x", "z"]},
        {"classes": ["y"]}, {},
    ]  # fmt: skip
    store = StoreWriter(
        str(tmp_path / "set"), split="train", num_records=5, num_shards=2, settings={},
        label_names=names, source="here",
    )  # fmt: skip
    with store:
        for index, truth in enumerate(told):
            store.add(index, StoredRecord(f"k{index}", b"m", truth=truth))
        store.finish()
    source = open_source(f"tfds:{tmp_path / 'set'}@{split}")
    truths = [source[index].truth for index in range(len(source))]
    for shard in (tmp_path / "set").glob("*-of-*"):
        shard.unlink()
    source = pickle.loads(pickle.dumps(source))
    sets, known = known_class_sets(source, np.arange(len(source)))
    assert known.tolist() == ["classes" in truth for truth in truths]
    assert sets.tolist() == [
        [name in truth.get("classes", ()) for name in names] for truth in truths
    ]
    tags, known = tags_of(source, np.arange(len(source)))
    assert tags.tolist() == sets.tolist()
    assert known.tolist() == [
        ["classes" in truth and name not in truth.get("ignored", ()) for name in names]
        for truth in truths
    ]


def test_a_table_without_classes_leaves_them_to_the_records(tmp_path):
    store = StoreWriter(
        str(tmp_path / "set"), split="train", num_records=1, num_shards=1, settings={},
        label_names=("x", "y"), source="here",
    )  # fmt: skip
    with store:
        store.add(0, StoredRecord("k", b"m", truth={"classes": ["y"], "ignored": ["x"]}))
        store.finish()
    file = tmp_path / "set" / "records-train.npz"
    with np.load(file) as columns:
        older = {
            name: columns[name] for name in columns if not name.startswith(("class_", "tells_"))
        }
    np.savez(file, **older)
    source = open_source(f"tfds:{tmp_path / 'set'}")
    assert not source.table.has_classes
    assert known_class_sets(source, np.array([0]))[0].tolist() == [[False, True]]
    assert tags_of(source, np.array([0]))[1].tolist() == [[False, True]]
