"""HMDB51: `hmdb51:ROOT@train1`, `@test1`, and so on to 3."""

from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, inside, lines_of, root_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

SPLITS = tuple(f"{part}{fold}" for part in ("train", "test") for fold in (1, 2, 3))
LIST_FOLDERS = ("testTrainMulti_7030_splits", "")
FOLDERS = ("videos", "hmdb51_org", "")
# What the number behind a name says; the others are in neither part.
TAGS = {"1": "train", "2": "test", "0": ""}


def open_hmdb51(path: str, split: str | None) -> OfficialSource:
    """The videos of one of the three official splits.

    Its lists are CLASS_test_splitN.txt, a file for each class, in ROOT/testTrainMulti_7030_splits or
    ROOT; a line is `NAME.avi 1`, where 1 is training, 2 test and 0 neither. Videos lie in a folder of
    their class in ROOT/videos, ROOT/hmdb51_org or ROOT; another suffix than .avi is found too. The key
    is CLASS/NAME.avi. Classes are sorted.

    Verified in torchvision (datasets/hmdb51.py): the lists and what 1 and 2 say; the folders `videos`
    and testTrainMulti_7030_splits in instructions of others, hmdb51_org as the name of the archive.
    """
    root, path, split = root_of("hmdb51", path, split)
    split = chosen("hmdb51", split, SPLITS)
    part, fold = split[:-1], split[-1]
    lists = _lists(root, f"_test_split{fold}.txt")
    names = sorted(lists)
    shelf = Shelf(root)
    found = (
        Row(
            f"{name}/{video}",
            shelf.find(FOLDERS, f"{name}/{video.rpartition('.')[0]}", official=video),
            where,
            label=label,
        )
        for label, name in enumerate(names)
        for where, video, tag in _lines(lists[name])
        if TAGS[tag] == part
    )
    listed_in = f"split {fold}"
    return OfficialSource(f"hmdb51:{path}@{split}", root, found, names, listed_in=listed_in)


def _lists(root: epath.Path, ending: str) -> dict[str, epath.Path]:
    for folder in LIST_FOLDERS:
        place = root / folder
        if place.is_dir():
            files = [entry for entry in place.iterdir() if entry.name.endswith(ending)]
            if files:
                return {file.name.removesuffix(ending): file for file in files}
    raise UsageError(
        f"'{printable(str(root))}' has no lists CLASS{ending}, neither in {LIST_FOLDERS[0]} nor beside it"
    )


def _lines(file: epath.Path) -> Iterator[tuple[str, str, str]]:
    for where, text in lines_of(file):
        video, _, tag = text.rpartition(" ")
        if tag not in TAGS or "." not in video:
            raise UsageError(
                f"{where}: '{printable(text)}' is no video with 0, 1 or 2 behind it; is it torn?"
            )
        yield where, inside(video.strip(), where), tag
