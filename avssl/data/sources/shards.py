"""What the shards of a TFDS split hold: the side table of a store, or one that is made by reading all of it."""

import functools
import hashlib

from etils import epath
from tqdm import tqdm

from avssl.data.cache import cache_folder, write_whole
from avssl.data.records import shard_mark
from avssl.data.split_reader import SplitReader, SplitShards, key_of_values
from avssl.data.table import RecordTable
from avssl.errors import UsageError
from avssl.media.errors import MediaError


def stored_table(shards: SplitShards) -> RecordTable | None:
    """The side table that lies beside the shards of a store of this program."""
    return RecordTable.read(shards.table_path) if shards.table_path.exists() else None


def table_of_split(shards: SplitShards, table: RecordTable | None) -> RecordTable:
    """The stored table if it fits; that of another program's set is made by reading it once."""
    if table is not None:
        if len(table) != sum(shards.lengths):
            raise UsageError(
                f"'{shards.table_path}' has {len(table)} rows for {sum(shards.lengths)} records: "
                "it belongs to another data set"
            )
        return table
    path = cache_folder() / "tables" / f"{shards.content}.npz"
    if path.exists():
        return RecordTable.read(path)
    table = _collect(shards)
    write_whole(path, table.to_bytes())
    return table


def digest_of_marks(shards: SplitShards) -> str:
    """What the shards look like: a set that was changed is read again."""
    marks = [shard_mark(epath.Path(shards.path(name))) for name in shards.names]
    return hashlib.sha256(b"".join(marks)).hexdigest()[:32]


def _collect(shards: SplitShards) -> RecordTable:
    reader = SplitReader()
    rows, has_facts = [], True
    progress = tqdm(total=sum(shards.lengths), desc=f"keys of {shards.split}", disable=None)
    with progress:
        for place, length in enumerate(shards.lengths):
            read = functools.partial(reader.read, shards, place)
            for position in range(length):
                try:
                    values = read(position)
                # Damaged: it keeps its place, and is counted as bad where it is read.
                except MediaError:
                    values = {"has_video": 0, "has_audio": 0}
                has_facts &= "has_video" in values and "has_audio" in values
                rows.append(
                    (
                        key_of_values(values) or f"{shards.split}/{len(rows)}",
                        _integer(values.get("label"), -1),
                        bool(values.get("has_video")),
                        bool(values.get("has_audio")),
                        values.get("duration_seconds") or 0.0,
                        len(media) if isinstance(media := values.get("media"), bytes) else 0,
                    )
                )
                progress.update()
    return RecordTable.from_rows(rows, has_facts=has_facts)


def _integer(value, missing: int) -> int:
    return value if isinstance(value, int) else missing
