"""Places365, pictures of scenes: `places365:ROOT@train_standard`, `@val`."""

from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, find_file, inside, lines_of, root_of, whole
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import PICTURE_SUFFIXES, Shelf
from avssl.errors import UsageError

LIST_FOLDERS = ("", "filelist_places365-standard/", "filelist_places365-challenge/")
CATEGORIES = "categories_places365.txt"
# Where the pictures of a split lie, the first folder that has one: as unpacked, or as torchvision renames it.
FOLDERS = {
    "train_standard": ("data_large_standard", "data_256_standard", "data_large", "data_256"),
    "train_challenge": ("data_large_challenge", "data_256_challenge", "data_large", "data_256"),
    "val": ("val_large", "val_256"),
}


def open_places365(path: str, split: str | None) -> OfficialSource:
    """The pictures of places365_train_standard.txt, places365_train_challenge.txt or places365_val.txt.

    A line is `/a/airfield/00000001.jpg 0` or `Places365_val_00000001.jpg 165`, the number that of a line of
    categories_places365.txt, `/a/airfield 0`; the class is then `airfield`. Lists lie in ROOT or in
    ROOT/filelist_places365-standard, pictures in ROOT/data_large or data_256 and val_large or val_256. The
    key is the name in the list.

    Verified in torchvision (datasets/places365.py): files, lines, folders.
    """
    root, path, split = root_of("places365", path, split)
    split = chosen("places365", split, tuple(FOLDERS))
    file, categories = (
        find_file(root, [f"{folder}{name}" for folder in LIST_FOLDERS], what)
        for name, what in (
            (f"places365_{split}.txt", "the official list"),
            (CATEGORIES, "its classes"),
        )
    )
    names = _classes(categories)
    found = _rows(file, len(names), Shelf(root), FOLDERS[split])
    spec = f"places365:{path}@{split}"
    return OfficialSource(spec, root, found, names, listed_in=file.name, stills=True)


def _rows(
    file: epath.Path, num_classes: int, shelf: Shelf, folders: tuple[str, ...]
) -> Iterator[Row]:
    for where, name, label in _numbered(file):
        if label >= num_classes:
            raise UsageError(f"{where}: there is no class {label} in {CATEGORIES}")
        key = inside(name, where)
        stem = key.rpartition(".")[0]
        yield Row(
            key, shelf.find(folders, stem, PICTURE_SUFFIXES, official=key), where, label=label
        )


def _classes(file: epath.Path) -> list[str]:
    """`/a/airfield 0` is airfield: the first letter is but a folder."""
    names: dict[int, str] = {}
    for where, name, number in _numbered(file):
        if number in names:
            raise UsageError(f"{where}: class {number} is there twice")
        names[number] = name.partition("/")[2]
    if sorted(names) != list(range(len(names))) or not all(names.values()):
        raise UsageError(f"'{printable(str(file))}' does not name classes /LETTER/NAME from 0 on")
    return [names[number] for number in range(len(names))]


def _numbered(file: epath.Path) -> Iterator[tuple[str, str, int]]:
    """(file and line, name without its first slash, number)"""
    for where, text in lines_of(file):
        name, _, number = text.rpartition(" ")
        yield where, name.strip().removeprefix("/"), whole(number, where, "class")
