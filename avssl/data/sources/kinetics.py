"""Kinetics 400, 600 and 700, cut to the clips of the list: `kinetics:ROOT@train`, `@val`, `@test`."""

from collections.abc import Mapping

from avssl.data.sources.lists import chosen, find_file, inside, root_of, table_of, whole
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf

SPLITS = ("train", "val", "test")
COLUMNS = ("youtube_id", "time_start", "time_end")
# Some files of the copy at the CVD foundation are damaged, and published again here.
REPLACEMENTS = "replacement/replacement_for_corrupted_k400"


def open_kinetics(path: str, split: str | None) -> OfficialSource:
    """The clips of a list with the columns `label,youtube_id,time_start,time_end`, and others.

    The list is SPLIT.csv or kinetics-400_SPLIT.csv (600, 700) in ROOT or ROOT/annotations, for `val`
    also validate.csv. Clips are ID_SSSSSS_EEEEEE of any suffix, start and end in six digits, in
    ROOT/SPLIT, in ROOT/SPLIT/CLASS, ROOT/videos/SPLIT/CLASS or ROOT/CLASS (the class with spaces or
    with underscores) or in ROOT/replacement/replacement_for_corrupted_k400, which comes first and has
    ID alone too. The key is the name of the clip. Classes are those of the list, sorted; a list
    without the column `label`, as of test sets that are held out, gives none.

    Verified: the columns in code that reads them and in ActivityNet's description; names and
    ROOT/CLASS in its crawler; ROOT/SPLIT, ROOT/annotations, ROOT/videos and the replacements in
    cvdfoundation/kinetics-dataset.
    """
    root, path, split = root_of("kinetics", path, split)
    split = chosen("kinetics", split, SPLITS)
    names = (split, "validate") if split == "val" else (split,)
    files = [name for part in names for name in _list_names(part)]
    places = [f"{folder}{name}" for folder in ("annotations/", "") for name in files]
    file = find_file(root, places, "the list of its clips")
    clips = []
    for where, cells in table_of(file, COLUMNS):
        start, end = (whole(cells[name], where, name) for name in COLUMNS[1:])
        name = inside(cells["youtube_id"].strip(), where)
        clips.append((where, name, f"{name}_{start:06d}_{end:06d}", _label(cells, where)))
    labels = sorted({label for *_, label in clips} - {""})
    place = {label: number for number, label in enumerate(labels)} | {"": -1}
    shelf = Shelf(root)
    found = (
        Row(key, _find(shelf, split, name, key, label), where, label=place[label])
        for where, name, key, label in clips
    )
    return OfficialSource(f"kinetics:{path}@{split}", root, found, labels, listed_in=file.name)


def _list_names(split: str) -> list[str]:
    return [f"{split}.csv", *(f"kinetics-{number}_{split}.csv" for number in (400, 600, 700))]


def _label(cells: Mapping[str, str], where: str) -> str:
    # Some lists put quotation marks into the cell.
    label = cells.get("label", "").strip().strip('"')
    # A class is the name of a folder, too; one with a slash is not looked for.
    return inside(label, where) if label and "/" not in label else label


def _find(shelf: Shelf, split: str, name: str, key: str, label: str) -> str | None:
    folders = [split]
    if label and "/" not in label:
        for folder in dict.fromkeys((label, label.replace(" ", "_"))):
            folders += [f"{split}/{folder}", f"videos/{split}/{folder}", folder]
    return (
        shelf.find((REPLACEMENTS,), key)
        or shelf.find((REPLACEMENTS,), name)
        or shelf.find(folders, key)
    )
