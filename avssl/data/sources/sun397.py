"""SUN397, pictures of scenes in ten partitions: `sun397:ROOT@Training_01`, `@Testing_01`."""

from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, find_file, inside, lines_of, root_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import PICTURE_SUFFIXES, Shelf
from avssl.errors import UsageError

SPLITS = tuple(f"{part}_{n:02d}" for part in ("Training", "Testing") for n in range(1, 11))
LIST_FOLDERS = ("Partitions/", "", "SUN397/")
FOLDERS = ("SUN397", "images", "")
CLASSES = "ClassName.txt"


def open_sun397(path: str, split: str | None) -> OfficialSource:
    """The pictures of one of the ten partitions; a published accuracy is the mean over them.

    Partitions/Training_01.txt and so on have lines `/a/abbey/sun_aaaulhwrhqgejnyt.jpg`, and ClassName.txt
    lines `/a/abbey`; the class is then `abbey`, or `apartment_building/outdoor`. Lists lie in
    ROOT/Partitions, ROOT or ROOT/SUN397, pictures in ROOT/SUN397, ROOT/images or ROOT. The key is the line
    without its first slash. Classes are numbered as in ClassName.txt.

    Verified: the lines of both lists in readers of others, the
    folders and how a class is called in torchvision (datasets/sun397.py).
    """
    root, path, split = root_of("sun397", path, split)
    split = chosen("sun397", split, SPLITS)
    file, classes = (
        find_file(root, [f"{folder}{name}" for folder in LIST_FOLDERS], what)
        for name, what in ((f"{split}.txt", "the official list"), (CLASSES, "its classes"))
    )
    folders = [text.removeprefix("/") for _, text in lines_of(classes)]
    names = [folder.partition("/")[2] for folder in folders]
    if not all(names) or len(set(folders)) < len(folders):
        raise UsageError(
            f"'{printable(str(classes))}' does not name each class once as /LETTER/NAME"
        )
    found = _rows(file, {folder: label for label, folder in enumerate(folders)}, Shelf(root))
    spec = f"sun397:{path}@{split}"
    return OfficialSource(spec, root, found, names, listed_in=file.name, stills=True)


def _rows(file: epath.Path, labels: dict[str, int], shelf: Shelf) -> Iterator[Row]:
    for where, text in lines_of(file):
        key = inside(text.removeprefix("/"), where)
        folder, _, picture = key.rpartition("/")
        if folder not in labels or "." not in picture:
            raise UsageError(f"{where}: '{printable(text)}' is no picture of a class in {CLASSES}")
        stem = key.rpartition(".")[0]
        path = shelf.find(FOLDERS, stem, PICTURE_SUFFIXES, official=key)
        yield Row(key, path, where, label=labels[folder])
