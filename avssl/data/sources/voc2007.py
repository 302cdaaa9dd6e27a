"""VOC 2007, pictures with several classes and boxes: `voc2007:ROOT@trainval`, `@test`, `@car_trainval`."""

from collections.abc import Iterator
from typing import Any

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, inside, lines_of, root_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import PICTURE_SUFFIXES, Shelf
from avssl.data.sources.voc_annotations import boxes_of
from avssl.data.truth import still_objects
from avssl.errors import UsageError, unknown

SPLITS = ("trainval", "train", "val", "test")
DEVKITS = ("", "VOC2007", "VOCdevkit/VOC2007")
LISTS = "ImageSets/Main"
PICTURES, ANNOTATIONS, ANNOTATION_SUFFIX = "JPEGImages", "Annotations", ".xml"
# What the number behind a picture says of the class of the list.
ABSENT, DIFFICULT, PRESENT = "-1", "0", "1"


def open_voc2007(path: str, split: str | None) -> OfficialSource:
    """The pictures of a split; ROOT is VOC2007, VOCdevkit, or the folder that holds it.

    The lists are ImageSets/Main/CLASS_SPLIT.txt, one for each class, which all name the same pictures; a
    line is `000012 -1`, where 1 says that the picture has the class, -1 that it has not, and 0 that all of
    its objects are difficult. `truth["classes"]` are the classes that it has, and `truth["ignored"]` the
    difficult ones: with those it neither counts as right nor as wrong. Pictures are JPEGImages/000012.jpg;
    the key is the number. Classes are sorted.

    The split `CLASS_SPLIT` is of one class alone: the pictures that have it, and what is known of it.

    Annotations/000012.xml, where they are on disk, say where things are: `truth["objects"]`, without the
    difficult ones, which the official evaluation of boxes forgives and `detection` does not know.

    Verified in the development kit (VOCinit.m: the folders and the names of lists); what the numbers say and
    the annotations are as recalled from its documentation.
    """
    root, path, asked = root_of("voc2007", path, split)
    name, _, split = (asked or "").rpartition("_")
    split = chosen("voc2007", split or None, SPLITS)
    kit = next((folder for folder in DEVKITS if (root / folder / LISTS).is_dir()), None)
    if kit is None:
        raise UsageError(f"'{printable(str(root))}' has no {LISTS}, nor have its {DEVKITS[1:]}")
    lists = _lists(root / kit / LISTS, split)
    if name and name not in lists:
        raise unknown(f"class in voc2007's '{printable(str(asked))}'", name, lists)
    names = [name] if name else sorted(lists)
    found = _rows(lists, names, Shelf(root), root, kit, has_others=not name)
    return OfficialSource(
        f"voc2007:{path}@{asked}", root, found, names,
        listed_in=f"{LISTS} of {asked}", multi_label=True, stills=True,
    )  # fmt: skip


def _lists(folder: epath.Path, split: str) -> dict[str, epath.Path]:
    ending = f"_{split}.txt"
    files = {f.name.removesuffix(ending): f for f in folder.iterdir() if f.name.endswith(ending)}
    if not files:
        raise UsageError(f"'{printable(str(folder))}' has no lists CLASS{ending}")
    return files


def _rows(
    lists: dict[str, epath.Path],
    names: list[str],
    shelf: Shelf,
    root: epath.Path,
    kit: str,
    *,
    has_others: bool,
) -> Iterator[Row]:
    """has_others: whether pictures of none of the names are rows too, and their boxes must be of these."""
    said = {name: dict(_lines(lists[name])) for name in names}
    pictures = said[names[0]]
    for name in names:
        if said[name].keys() != pictures.keys():
            other = sorted(said[name].keys() ^ pictures.keys())[0]
            raise UsageError(
                f"'{printable(str(lists[name]))}' and '{printable(str(lists[names[0]]))}' do not name the "
                f"same pictures, '{printable(other)}' is in one alone; is one torn?"
            )
    media, annotations = (f"{kit}/{folder}".lstrip("/") for folder in (PICTURES, ANNOTATIONS))
    annotated = pictures.keys() & {*shelf.stems(annotations, ANNOTATION_SUFFIX)}
    for key in pictures:
        tags = [said[name][key] for name in names]
        if not has_others and PRESENT not in tags:
            continue
        ignored = [name for name, tag in zip(names, tags, strict=True) if tag == DIFFICULT]
        truth: dict[str, Any] = {"ignored": ignored} if ignored else {}
        file = shelf.find((media,), key, PICTURE_SUFFIXES)
        if annotated and file is not None:
            annotation = root / annotations / f"{key}{ANNOTATION_SUFFIX}"
            if key not in annotated:
                raise UsageError(
                    f"'{printable(str(annotation))}' is not there, as those of other pictures are: unpack all "
                    "annotations, or take the folder away to do without boxes"
                )
            truth |= _objects(annotation, names, has_others)
        yield Row(
            key,
            file,
            f"{LISTS}: {key}",
            classes=[place for place, tag in enumerate(tags) if tag == PRESENT],
            truth=truth,
        )


def _objects(annotation: epath.Path, names: list[str], has_others: bool) -> dict[str, Any]:
    found = list(boxes_of(annotation))
    if has_others and (strange := [name for name, _ in found if name not in names]):
        raise UsageError(
            f"'{printable(str(annotation))}' has a box of '{printable(strange[0])}', of which {LISTS} has no "
            "list: add it, or read the list of one class (@CLASS_SPLIT)"
        )
    return still_objects(((names.index(name), box) for name, box in found if name in names), names)


def _lines(file: epath.Path) -> Iterator[tuple[str, str]]:
    for where, text in lines_of(file):
        picture, _, tag = text.partition(" ")
        tag = tag.strip()
        if tag not in (ABSENT, DIFFICULT, PRESENT):
            raise UsageError(
                f"{where}: '{printable(text)}' is no picture with -1, 0 or 1 behind it; is it torn?"
            )
        yield inside(picture, where), tag
