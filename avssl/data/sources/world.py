"""Generated worlds as sources: built once into `$AVSSL_CACHE`, then read like any store."""

import dataclasses
import sys

from tqdm import tqdm

from avssl.data.cache import cache_folder
from avssl.data.keys import printable
from avssl.data.records import StoredRecord
from avssl.data.shard_writer import default_num_shards
from avssl.data.sources.tfds import TfdsSource
from avssl.data.store import StoreWriter
from avssl.data.workers import num_cores
from avssl.errors import AvsslError, UsageError
from avssl.media.sandbox import ChildPool, Failure
from avssl.world.generate import generate
from avssl.world.registry import World, find_world

CLIP_SECONDS_LIMIT = 60.0
CHILD_MEMORY_BYTES = 2 << 30


@dataclasses.dataclass(frozen=True)
class ClipMaker:
    """Makes clip number `index`; travels to child processes."""

    world: World
    split: str

    def __call__(self, index: int) -> StoredRecord:
        media, truth = generate(self.world, self.split, index)
        return StoredRecord(
            key=f"{self.split}/{index:06d}",
            media=media,
            label=int(truth["label"]),
            duration_seconds=self.world.seconds,
            truth=truth,
        )


def open_world(name: str, split: str | None = None) -> TfdsSource:
    """The split (by default `train`) of a world, or a part of it: `train[:90%]`."""
    world = find_world(name)
    wanted = split or "train"
    base = wanted.partition("[")[0].strip()
    if "+" in wanted:
        raise UsageError(
            f"'{printable(wanted)}' joins splits of a world; "
            f"write world:{name}@train+world:{name}@test"
        )
    world.num_clips(base)
    folder = build_world(world, base)
    return TfdsSource(folder, wanted, spec=f"world:{name}" + (f"@{split}" if split else ""))


def build_world(world: World, split: str, num_workers: int | None = None) -> str:
    """The folder of a world's split in the cache; generates it on all cores if it is not there."""
    folder = str(cache_folder() / "worlds" / f"{world.name}-{world.fingerprint}" / split)
    num_clips = world.num_clips(split)
    store = StoreWriter(
        folder,
        split=split,
        num_records=num_clips,
        num_shards=default_num_shards(num_clips),
        settings={"world": world.name, "fingerprint": world.fingerprint},
        label_names=world.class_names,
        source=f"world:{world.name}@{split}",
        wait=True,
    )
    try:
        with store:
            if pending := store.pending():
                _generate_all(store, pending, world, split, num_workers or num_cores())
            store.finish()
    except AvsslError as error:
        raise type(error)(f"{error}; AVSSL_CACHE says where worlds are kept") from error
    return folder


def _generate_all(
    store: StoreWriter, pending: list[int], world: World, split: str, num_workers: int
) -> None:
    print(f"generating world {world.name}@{split} into {store.out}", file=sys.stderr)
    num_workers = min(num_workers, max(1, len(pending) // 8))
    maker = ClipMaker(world, split)
    with (
        ChildPool(
            num_workers,
            maker,
            timeout_seconds=CLIP_SECONDS_LIMIT,
            memory_bytes=CHILD_MEMORY_BYTES,
        ) as pool,
        tqdm(total=len(pending), desc=f"{world.name}@{split}", unit="clip", disable=None) as bar,
    ):
        for index, record in pool.map(pending):
            if isinstance(record, Failure):
                raise AvsslError(
                    f"clip {index} of world {world.name}@{split} was not made ({record.reason}); "
                    "run the command again to go on from here"
                )
            store.add(index, record)
            bar.update()
