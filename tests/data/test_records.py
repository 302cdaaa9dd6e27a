import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath

from avssl.data.records import (
    ShardReader,
    ShardWriter,
    StoredRecord,
    count_records,
    decode,
    encode,
    features,
    shard_mark,
)
from avssl.data.table import RecordTable
from avssl.errors import UsageError
from avssl.media.errors import MediaError

RECORD = StoredRecord(
    key="ä/\\xff\n.mp4",
    media=bytes(range(256)),
    label=-1,
    duration_seconds=1.5,
    has_video=True,
    has_audio=False,
    truth={"boxes": [[0.5, 1]], "caption": "é\udcff"},
)


def write_shard(path, media: list[bytes]) -> str:
    writer = ShardWriter(str(path))
    for index, content in enumerate(media):
        writer.write(encode(StoredRecord(key=f"k{index}", media=content)))
    writer.close()
    return str(path)


def test_record_comes_back():
    values = decode(encode(RECORD))
    assert json.loads(values.pop("truth")) == RECORD.truth
    assert values == {
        "media": RECORD.media,
        "key": RECORD.key.encode(),
        "label": -1,
        "duration_seconds": 1.5,
        "has_video": 1,
        "has_audio": 0,
    }


def test_tfds_reads_it_by_our_schema():
    values = features(["a", "b"]).deserialize_example_np(encode(RECORD))
    assert values["media"] == RECORD.media
    assert values["key"] == RECORD.key.encode()
    assert (values["label"], values["has_video"], values["has_audio"]) == (-1, True, False)


def test_tfds_writes_what_we_read():
    schema = features(["a", "b"])
    example = {
        "media": b"m",
        "key": "k",
        "label": "b",
        "duration_seconds": 2.0,
        "has_video": True,
        "has_audio": True,
        "truth": "{}",
    }
    assert decode(schema.serialize_example(schema.encode_example(example)))["label"] == 1


def test_names_that_tfds_would_change_stay_out_of_its_schema():
    assert features(["a", "b c"])["label"].names == ["a", "b c"]
    for names in (["a", " b"], ["a", ""], ["a\nb", "c"]):
        assert features(names)["label"].names == ["0", "1"]
    assert isinstance(features([])["label"], tfds.features.Scalar)


def test_equal_records_give_equal_shards(tmp_path):
    media = [np.random.default_rng(i).bytes(5000) for i in range(20)]
    one, two = (write_shard(tmp_path / name, media) for name in ("one", "two"))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert shard_mark(epath.Path(one)) == shard_mark(epath.Path(two))
    assert shard_mark(epath.Path(one)) != shard_mark(
        epath.Path(write_shard(tmp_path / "three", media[::-1]))
    )


def test_flipped_bit_is_one_bad_record(tmp_path):
    path = tmp_path / "shard"
    write_shard(path, [bytes([index]) * 3000 for index in range(10)])
    content = bytearray(path.read_bytes())
    content[content.find(bytes([7]) * 100) + 50] ^= 4
    path.write_bytes(content)
    reader = ShardReader()
    for _ in range(2):
        with pytest.raises(MediaError, match="record 7 of shard shard is damaged"):
            reader.read(str(path), 7)
    for index in (6, 8):
        assert decode(reader.read(str(path), index))["media"] == bytes([index]) * 3000


def test_counting_says_when_it_is_no_shard(tmp_path):
    path = tmp_path / "shard"
    write_shard(path, [b"x" * 100_000] * 4)
    assert count_records(str(path)) == 4
    content = path.read_bytes()
    for damaged in (b"", b"hello" * 30_000, content[: len(content) // 2], content[:-9]):
        path.write_bytes(damaged)
        assert count_records(str(path)) is None
    assert count_records(str(tmp_path / "none")) is None


ROWS = [("é", 1, True, False, 1.5, 10), ("", -1, False, True, 0.0, 20), ("c", 0, True, True, 2, 30)]


def test_table_comes_back(tmp_path):
    table = RecordTable.from_rows(ROWS, shard_marks=[b"m" * 32], label_names=["a\n", "b"])
    path = epath.Path(tmp_path / "table.npz")
    path.write_bytes(table.to_bytes())
    copy = RecordTable.read(path)
    assert [copy.key(row) for row in range(3)] == ["é", "", "c"]
    assert copy.label_names == ("a\n", "b")
    assert copy.label.tolist() == [1, -1, 0]
    assert copy.has_video.tolist() == [True, False, True]
    assert copy.num_bytes.tolist() == [10, 20, 30]
    assert copy.shard_marks.tobytes() == b"m" * 32
    assert copy.has_facts


def test_table_rows_and_joining():
    table = RecordTable.from_rows(ROWS)
    parts = [table.rows(1, 3), table.rows(0, 0), table.rows(0, 2)]
    joined = RecordTable.concatenate(parts)
    assert [joined.key(row) for row in range(len(joined))] == ["", "c", "é", ""]
    assert joined.label.tolist() == [-1, 0, 1, -1]


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "pickle"])
def test_damaged_table_is_refused(tmp_path, damage):
    content = bytearray(RecordTable.from_rows(ROWS).to_bytes())
    path = epath.Path(tmp_path / "records-train.npz")
    if damage == "pickle":
        with open(path, "wb") as file:
            np.savez(file, key_bytes=np.array([print], dtype=object))
    elif damage == "flip":
        content[content.find(b"\xc3\xa9")] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"hello")
    with pytest.raises(UsageError, match=r"records-train\.npz is damaged"):
        RecordTable.read(path)
