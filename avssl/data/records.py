"""The store: a tf.Example per record in ArrayRecord shards, as TFDS reads them, no TensorFlow."""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import threading
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore
from etils import epath

from avssl.media.errors import MediaError

DATASET = "avssl"
# Media are compressed already, and one record a group makes reading one record read one record.
WRITER_OPTIONS = "group_size:1,uncompressed"
# The footer of a shard of some hundred records is within its last 128 KiB; the megabyte that is read by default
# would be most of what opening costs on a bucket.
READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0,footer_prefetch_bytes:131072"
MARK_BYTES = 4096
MAX_OPEN_SHARDS = 256


@dataclasses.dataclass(frozen=True)
class StoredRecord:
    """A record as it lies in a store: the whole of its media, and the facts about it."""

    key: str
    media: bytes
    label: int = -1
    duration_seconds: float = 0.0
    has_video: bool = True
    has_audio: bool = True
    truth: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def shard_name(split: str, shard: int, num_shards: int) -> str:
    return f"{DATASET}-{split}.array_record-{shard:05d}-of-{num_shards:05d}"


def table_name(split: str) -> str:
    return f"records-{split}.npz"


def encode(record: StoredRecord) -> bytes:
    """The record as a serialized tf.Example; equal records give equal bytes."""
    return example(
        {
            "media": record.media,
            "key": record.key.encode(),
            "label": int(record.label),
            "duration_seconds": float(record.duration_seconds),
            "has_video": int(record.has_video),
            "has_audio": int(record.has_audio),
            "truth": json.dumps(dict(record.truth), separators=(",", ":")).encode(),
        }
    )


def example(values: Mapping[str, bytes | int | float]) -> bytes:
    """A serialized tf.Example of single values; equal values give equal bytes."""
    tf = _messages()

    def feature(value: bytes | int | float):
        if isinstance(value, bytes):
            return tf.Feature(bytes_list=tf.BytesList(value=[value]))
        if isinstance(value, int):
            return tf.Feature(int64_list=tf.Int64List(value=[value]))
        return tf.Feature(float_list=tf.FloatList(value=[value]))

    features = {name: feature(value) for name, value in values.items()}
    made = tf.Example(features=tf.Features(feature=features))
    return made.SerializeToString(deterministic=True)


def decode(serialized: bytes) -> dict[str, Any]:
    """The features of a tf.Example by name: bytes, int or float, or a list of several."""
    example = _messages().Example.FromString(serialized)
    values = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        value = getattr(feature, kind).value if kind else ()
        values[name] = value[0] if len(value) == 1 else list(value)
    return values


@functools.cache
def _messages() -> Any:
    """The protocol buffers of tf.Example, which TFDS brings along. TFDS takes long to import."""
    from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

    names = ("Feature", "Features", "BytesList", "FloatList", "Int64List")
    feature = {name: getattr(tf_feature_pb2, name) for name in names}
    return types.SimpleNamespace(Example=tf_example_pb2.Example, **feature)  # pyright: ignore


def features(label_names: Sequence[str]):
    """The store's schema for TFDS."""
    import tensorflow_datasets as tfds

    # TFDS keeps names one a line and strips them: names that this would change stay out of its
    # files (the side table has them all).
    keepable = all(name and name == name.strip() and "\n" not in name for name in label_names)
    if not label_names:
        label = tfds.features.Scalar(np.int64)
    elif keepable and all(name.isprintable() for name in label_names):
        label = tfds.features.ClassLabel(names=list(label_names))
    else:
        label = tfds.features.ClassLabel(num_classes=len(label_names))
    return tfds.features.FeaturesDict(
        {
            "media": tfds.features.Tensor(shape=(), dtype=np.object_),
            "key": tfds.features.Text(),
            "label": label,
            "duration_seconds": tfds.features.Scalar(np.float32),
            "has_video": tfds.features.Scalar(np.bool_),
            "has_audio": tfds.features.Scalar(np.bool_),
            "truth": tfds.features.Text(),
        }
    )


def shard_mark(path: epath.Path) -> bytes:
    """A digest of a shard's size, head and tail: it tells shards of equal length apart."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(str(size).encode())
        for offset in (0, max(0, size - MARK_BYTES)):
            file.seek(offset)
            digest.update(file.read(MARK_BYTES))
    return digest.digest()


class ShardWriter:
    """Writes one shard. Nothing is known to lie on the disk before `close` returned."""

    def __init__(self, path: str):
        self._path = path
        self._writer = array_record_module.ArrayRecordWriter(path, WRITER_OPTIONS)

    def write(self, serialized: bytes) -> None:
        self._writer.write(serialized)

    def close(self) -> None:
        self._writer.close()
        # The rename that follows must not reach the disk before the data.
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def count_records(path: str) -> int | None:
    """How many records a shard says it holds, None where it is no whole shard."""
    try:
        reader = array_record_module.ArrayRecordReader(path, READER_OPTIONS)
        num_records = reader.num_records() if reader.ok() else None
        reader.close()
    except (RuntimeError, OSError):
        return None
    return num_records


class ShardReader:
    """Reads single records from many shards; holds the most recently used ones open."""

    def __init__(self):
        self._open: collections.OrderedDict[str, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: str, position: int) -> bytes:
        """One record, serialized.

        Raises MediaError, naming shard and record, where the record is damaged: the pipeline then
        counts it as it counts a video that cannot be decoded.
        """
        try:
            return self._reader(path).read([position])[0]
        # Riegeli checks a hash per record and reports RuntimeError.
        except (RuntimeError, IndexError, OSError) as error:
            with self._lock:
                self._open.pop(path, None)
            raise MediaError(f"{place_of(path, position)} is damaged") from error

    def count(self, path: str) -> int | None:
        """What `count_records` says, by the reader that stays open for `read`."""
        try:
            reader = self._reader(path)
            return reader.num_records() if reader.ok() else None
        except (RuntimeError, OSError):
            return None

    def _reader(self, path: str):
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
        # Other threads go on reading meanwhile: opening a file of a bucket takes long.
        reader = array_record_module.ArrayRecordReader(
            path, READER_OPTIONS, file_reader_buffer_size=32768
        )
        with self._lock:
            self._open[path] = reader
            # Dropped, not closed: another thread may be reading from it.
            if len(self._open) > MAX_OPEN_SHARDS:
                self._open.popitem(last=False)
        return reader


def place_of(path: str, position: int) -> str:
    return f"record {position} of shard {os.path.basename(path)}"
