"""VGGSound: `vggsound:ROOT@train` and `@test`."""

from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, find_file, inside, root_of, rows_of, whole
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

SPLITS = ("train", "test")
LISTS = ("vggsound.csv", "data/vggsound.csv")
FOLDERS = ("video", "", "audio")


def open_vggsound(path: str, split: str | None) -> OfficialSource:
    """The clips of vggsound.csv: a row is YouTube id, start in seconds, class, train or test; no header.

    Clips are files ID_SSSSSS with the start in six digits, of any suffix, in ROOT/video, ROOT itself
    or ROOT/audio (sound alone). The key of a record is that name, which VGG-SS has as well. Classes
    are all those of the list, sorted, as the official loader numbers them.

    Verified in hche11/VGGSound: the columns in its README, the names in data/test.csv, the order of
    classes and `.wav` beside in datasets/dataloader.py. The folder is not prescribed there; `video`
    is that of the copies in circulation (not verified).
    """
    root, split = root_of("vggsound", path, split)
    split = chosen("vggsound", split, SPLITS)
    file = find_file(root, LISTS, "the list of the data set")
    rows = list(_rows(file))
    names = sorted({label for _, _, label, _ in rows})
    place = {name: label for label, name in enumerate(names)}
    shelf = Shelf(root)
    found = (
        Row(key, shelf.find(FOLDERS, key), where, label=place[label])
        for where, key, label, part in rows
        if part == split
    )
    return OfficialSource(f"vggsound:{path}@{split}", root, found, names, listed_in=file.name)


def clip_name(youtube_id: str, start_seconds: int) -> str:
    return f"{youtube_id}_{start_seconds:06d}"


def _rows(file: epath.Path) -> Iterator[tuple[str, str, str, str]]:
    """(file and line, name of the clip, class, split)"""
    for where, (youtube_id, start, label, part) in rows_of(file, num_cells=(4,)):
        label, part = label.strip(), part.strip()
        if part not in SPLITS or not label:
            raise UsageError(
                f"{where}: '{printable(label)}', '{printable(part)}' is no class and one of "
                f"{', '.join(SPLITS)}"
            )
        seconds = whole(start, where, "start")
        yield where, clip_name(inside(youtube_id.strip(), where), seconds), label, part
