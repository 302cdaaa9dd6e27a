"""Records of a split, from shards that are each checked before their first record is read."""

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath
from google.protobuf.message import DecodeError

from avssl.data.keys import printable
from avssl.data.local import LocalCache
from avssl.data.records import ShardReader, count_records, decode, place_of, shard_mark, table_name
from avssl.errors import UsageError
from avssl.media.errors import MediaError

# A set may have thousands of shards on a bucket, where each look takes long; so many are looked at when it is
# opened, which of a small set is all of it.
NUM_CHECKED_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class SplitShards:
    """A split's shards in order, and how many records each holds by the metadata.

    marks: what `shard_mark` said of each when they were written; empty where nobody asked.
    content: tells the records of equally named shards apart; entries of a local cache are under it.
    """

    root: str
    split: str
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    marks: tuple[bytes, ...] = ()
    content: str = ""

    @property
    def first_rows(self) -> list[int]:
        return [0, *itertools.accumulate(self.lengths)][:-1]

    @property
    def table_path(self) -> epath.Path:
        return epath.Path(self.root) / table_name(self.split)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"


def check_shard(
    shards: SplitShards, place: int, count: Callable[[str], int | None] = count_records
) -> None:
    """UsageError, naming the shard, where it is missing, cut, or another set's."""
    name, length = shards.names[place], shards.lengths[place]
    path = shards.path(name)
    where = f"shard '{name}' in '{printable(shards.root)}'"
    found = count(path)
    if found != length:
        if not epath.Path(path).exists():
            raise UsageError(f"{where} is missing; copy it there, or build the data set again")
        holds = "is cut or no ArrayRecord file" if found is None else f"holds {found} records"
        raise UsageError(f"{where} {holds} where the metadata say {length}; replace it")
    if shards.marks and shard_mark(epath.Path(path)) != shards.marks[place]:
        raise UsageError(f"{where} is not the one that was built here; replace it")


def check_some(shards: SplitShards) -> None:
    """What can be said at once: there is a mark of each shard, and a few shards, evenly spread, are whole."""
    if len(shards.marks) not in (0, len(shards.names)):
        raise UsageError(
            f"'{shards.table_path}' is about {len(shards.marks)} shards, not {len(shards.names)}: "
            "it belongs to another data set"
        )
    last = len(shards.names) - 1
    for place in np.unique(np.linspace(0, last, NUM_CHECKED_AT_ONCE).astype(int)).tolist():
        check_shard(shards, place)


def check_all(shards: SplitShards) -> None:
    """The same of every shard, and that none is one too many."""
    present = {entry.name for entry in epath.Path(shards.root).iterdir()}
    if shards.names and (found := re.match(r"(.*?)\d+-of-\d+$", shards.names[0])):
        pattern = re.compile(re.escape(found.group(1)) + r"\d+-of-\d+$")
        if extra := sorted(name for name in present - {*shards.names} if pattern.match(name)):
            raise UsageError(
                f"shard '{extra[0]}' in '{printable(shards.root)}' is not in its metadata; "
                "take it out, or build the data set again"
            )
    for place in range(len(shards.names)):
        check_shard(shards, place)


class SplitReader:
    """Reads single records, `local` keeps them on this machine. It holds files open and cannot travel."""

    def __init__(self, local: LocalCache | None = None):
        self._local = local
        self._reader = ShardReader()
        self._checked: set[str] = set()

    def read(
        self, shards: SplitShards, place: int, position: int, key: str | None = None
    ) -> dict[str, Any]:
        """The features of a record of one of the shards, by its place among them.

        MediaError where the record is damaged, or carries another key than this one; UsageError where the
        shard as a whole is not what it should be.
        """
        path = shards.path(shards.names[place])
        entry = (f"{shards.content}/{place:05d}", position)
        kept = self._local.get(*entry) if self._local else None
        content = self._from_shard(shards, place, position) if kept is None else kept
        try:
            values = decode(content)
        except DecodeError as error:
            raise MediaError(f"{place_of(path, position)} is damaged") from error
        # Another set's shard under this name: its records are whole, but they are not these.
        if key is not None and key_of_values(values) not in (key, None):
            raise MediaError(
                f"{place_of(path, position)} is not '{printable(key)}' but another record"
            )
        if self._local and kept is None:
            self._local.put(*entry, content)
        return values

    def _from_shard(self, shards: SplitShards, place: int, position: int) -> bytes:
        path = shards.path(shards.names[place])
        if path not in self._checked:
            check_shard(shards, place, self._reader.count)
            self._checked.add(path)
        return self._reader.read(path, position)


def key_of_values(values: dict[str, Any]) -> str | None:
    """The key that a record carries itself, None where it carries none."""
    key = values.get("key")
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) and key else None
