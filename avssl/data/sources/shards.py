"""The shards of a TFDS split: are they what the metadata says, and what do they hold?"""

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Sequence

import numpy as np
from etils import epath
from tqdm import tqdm

from avssl.data.cache import cache_folder, write_whole
from avssl.data.keys import printable
from avssl.data.records import ShardReader, count_records, shard_mark, table_name
from avssl.data.table import RecordTable
from avssl.errors import UsageError
from avssl.media.errors import MediaError


@dataclasses.dataclass(frozen=True)
class SplitShards:
    """A split's shards in order, and how many records each holds by the metadata."""

    root: str
    split: str
    names: tuple[str, ...]
    lengths: tuple[int, ...]

    @property
    def first_rows(self) -> list[int]:
        return [0, *itertools.accumulate(self.lengths)][:-1]

    @property
    def table_path(self) -> epath.Path:
        return epath.Path(self.root) / table_name(self.split)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"


def stored_table(shards: SplitShards) -> RecordTable | None:
    """The side table that lies beside the shards of a store of this program."""
    return RecordTable.read(shards.table_path) if shards.table_path.exists() else None


def check_shards(shards: SplitShards, marks: Sequence[np.ndarray] | np.ndarray) -> None:
    """UsageError, naming the shard, where one is missing, cut, another set's, or one too many."""
    present = {entry.name for entry in epath.Path(shards.root).iterdir()}
    strangers = present - set(shards.names)
    if shards.names and (found := re.match(r"(.*?)\d+-of-\d+$", shards.names[0])):
        pattern = re.compile(re.escape(found.group(1)) + r"\d+-of-\d+$")
        if extra := sorted(name for name in strangers if pattern.match(name)):
            raise UsageError(
                f"shard '{extra[0]}' in '{printable(shards.root)}' is not in its metadata; "
                "take it out, or build the data set again"
            )
    if len(marks) not in (0, len(shards.names)):
        raise UsageError(
            f"'{shards.table_path}' is about {len(marks)} shards, not {len(shards.names)}: "
            "it belongs to another data set"
        )
    for place, (name, length) in enumerate(zip(shards.names, shards.lengths, strict=True)):
        where = f"shard '{name}' in '{printable(shards.root)}'"
        if name not in present:
            raise UsageError(f"{where} is missing; copy it there, or build the data set again")
        path = shards.path(name)
        found = count_records(path)
        if found != length:
            holds = "is cut or no ArrayRecord file" if found is None else f"holds {found} records"
            raise UsageError(f"{where} {holds} where the metadata say {length}; replace it")
        if len(marks) and shard_mark(epath.Path(path)) != marks[place].tobytes():
            raise UsageError(f"{where} is not the one that was built here; replace it")


def table_of_split(shards: SplitShards, table: RecordTable | None) -> RecordTable:
    """The stored table if it fits; that of another program's set is made by reading it once."""
    if table is not None:
        if len(table) != sum(shards.lengths):
            raise UsageError(
                f"'{shards.table_path}' has {len(table)} rows for {sum(shards.lengths)} records: "
                "it belongs to another data set"
            )
        return table
    # Where the set lies and what its shards look like: a set that was changed is read again.
    marks = [shard_mark(epath.Path(shards.path(name))) for name in shards.names]
    digest = hashlib.sha256(b"".join(marks)).hexdigest()[:32]
    path = cache_folder() / "tables" / f"{digest}.npz"
    if path.exists():
        return RecordTable.read(path)
    table = _collect(shards)
    write_whole(path, table.to_bytes())
    return table


def _collect(shards: SplitShards) -> RecordTable:
    reader = ShardReader()
    rows, has_facts = [], True
    progress = tqdm(total=sum(shards.lengths), desc=f"keys of {shards.split}", disable=None)
    with progress:
        for name, length in zip(shards.names, shards.lengths, strict=True):
            read = functools.partial(reader.read, shards.path(name))
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


def key_of_values(values: dict) -> str | None:
    """The key that a record carries itself, None where it carries none."""
    key = values.get("key")
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) and key else None


def _integer(value, missing: int) -> int:
    return value if isinstance(value, int) else missing
