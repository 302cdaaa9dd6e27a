"""VOC 2007, image classification with several classes a picture: `voc2007:ROOT@trainval`, `@test`."""

from collections.abc import Iterator
from typing import Any

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, inside, lines_of, root_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import PICTURE_SUFFIXES, Shelf
from avssl.errors import UsageError

SPLITS = ("trainval", "train", "val", "test")
DEVKITS = ("", "VOC2007", "VOCdevkit/VOC2007")
LISTS = "ImageSets/Main"
# What the number behind a picture says of the class of the list.
ABSENT, DIFFICULT, PRESENT = "-1", "0", "1"


def open_voc2007(path: str, split: str | None) -> OfficialSource:
    """The pictures of a split; ROOT is VOC2007, VOCdevkit, or the folder that holds it.

    The lists are ImageSets/Main/CLASS_SPLIT.txt, one for each class, which all name the same pictures; a
    line is `000012 -1`, where 1 says that the picture has the class, -1 that it has not, and 0 that all of
    its objects are difficult. `truth["classes"]` are the classes that it has, and `truth["ignored"]` the
    difficult ones: with those it neither counts as right nor as wrong. Pictures are JPEGImages/000012.jpg;
    the key is the number. Classes are sorted.

    Verified in the development kit (VOCinit.m: the folders and the names of lists); what the numbers say is
    as recalled from its documentation.
    """
    root, path, split = root_of("voc2007", path, split)
    split = chosen("voc2007", split, SPLITS)
    kit = next((folder for folder in DEVKITS if (root / folder / LISTS).is_dir()), None)
    if kit is None:
        raise UsageError(f"'{printable(str(root))}' has no {LISTS}, nor have its {DEVKITS[1:]}")
    lists = _lists(root / kit / LISTS, split)
    names = sorted(lists)
    shelf, folder = Shelf(root), f"{kit}/JPEGImages".lstrip("/")
    found = _rows(lists, names, shelf, folder)
    return OfficialSource(
        f"voc2007:{path}@{split}", root, found, names,
        listed_in=f"{LISTS} of {split}", multi_label=True, stills=True,
    )  # fmt: skip


def _lists(folder: epath.Path, split: str) -> dict[str, epath.Path]:
    ending = f"_{split}.txt"
    files = {f.name.removesuffix(ending): f for f in folder.iterdir() if f.name.endswith(ending)}
    if not files:
        raise UsageError(f"'{printable(str(folder))}' has no lists CLASS{ending}")
    return files


def _rows(
    lists: dict[str, epath.Path], names: list[str], shelf: Shelf, folder: str
) -> Iterator[Row]:
    said = {name: dict(_lines(lists[name])) for name in names}
    pictures = said[names[0]]
    for name in names:
        if said[name].keys() != pictures.keys():
            other = sorted(said[name].keys() ^ pictures.keys())[0]
            raise UsageError(
                f"'{printable(str(lists[name]))}' and '{printable(str(lists[names[0]]))}' do not name the "
                f"same pictures, '{printable(other)}' is in one alone; is one torn?"
            )
    for key in pictures:
        tags = [said[name][key] for name in names]
        ignored = [name for name, tag in zip(names, tags, strict=True) if tag == DIFFICULT]
        truth: dict[str, Any] = {"ignored": ignored} if ignored else {}
        yield Row(
            key,
            shelf.find((folder,), key, PICTURE_SUFFIXES),
            f"{LISTS}: {key}",
            classes=[place for place, tag in enumerate(tags) if tag == PRESENT],
            truth=truth,
        )


def _lines(file: epath.Path) -> Iterator[tuple[str, str]]:
    for where, text in lines_of(file):
        picture, _, tag = text.partition(" ")
        tag = tag.strip()
        if tag not in (ABSENT, DIFFICULT, PRESENT):
            raise UsageError(
                f"{where}: '{printable(text)}' is no picture with -1, 0 or 1 behind it; is it torn?"
            )
        yield inside(picture, where), tag
