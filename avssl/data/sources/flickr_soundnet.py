"""Flickr-SoundNet for localisation: `flickr_soundnet:ROOT@flickr_test`, or all that is annotated."""

from collections.abc import Iterator
from typing import Any

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import find_list, inside, lines_of, number, root_of, xml_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import PICTURE_SUFFIXES, SOUND_SUFFIXES, Shelf
from avssl.errors import UsageError

ANNOTATIONS = "Annotations"
LIST_FOLDERS = ("", "metadata")
LIST_SUFFIXES = (".csv", ".txt")
# Boxes are in pixels of a picture of this size, and truth is what this many of three annotators say.
PICTURE_SIZE = 256
CONSENSUS = 2


def open_flickr_soundnet(path: str, split: str | None) -> OfficialSource:
    """Pairs of a picture and a sound, with the boxes of three annotators where there are some.

    The split is the name of a list in ROOT or ROOT/metadata: flickr_test.csv (250 ids and a number),
    test_list.txt (the same as `ID.png`), Flickr_train_144k.txt (`ID.wav`), flickr_10k.txt and
    flickr_144k.csv (`ID`). Without one, the records are all of ROOT/Annotations (5000). Pictures and
    sounds lie in ROOT/frames and ROOT/audio as ID.jpg and ID.wav, or side by side in a folder of
    ROOT/Data; a record holds both (`avssl.media.pairing`). The key is the id.

    `truth` has `sounding_boxes` (x0, y0, x1, y1 in shares of the picture, a box of each annotator)
    and `consensus`, 2: a pixel is wholly true where two boxes lie on it.

    Verified: lists and the number of annotators in ardasnck/learning_to_localize_sound_source and
    stoneMo/EZ-VSL; frames, audio and the annotation (ROOT/Annotations/ID.xml: below each child of the
    root `bbox` elements, whose first child is no number and the next four are x0, y0, x1, y1 in pixels
    of 256) in the evaluators of EZ-VSL and hche11/Localizing-Visual-Sounds-the-Hard-Way, which agree;
    Data in hohsiangwu/rethinking-visual-sound-localization. No annotation itself was seen.
    """
    root, path, split = root_of("flickr_soundnet", path, split)
    shelf = Shelf(root)
    annotated = {name: f"{ANNOTATIONS}/{name}.xml" for name in shelf.stems(ANNOTATIONS, ".xml")}
    if split is None:
        names = [(f"{ANNOTATIONS}/{name}.xml", name) for name in annotated]
        listed_in = ANNOTATIONS
        if not names:
            raise UsageError(
                f"'{printable(str(root))}' has no annotations (ID.xml in a folder {ANNOTATIONS}); "
                "name a list after @ to read pairs without boxes"
            )
    else:
        file = find_list(root, split, LIST_FOLDERS, LIST_SUFFIXES, "list")
        names, listed_in = list(_names(file)), file.name
    folders = ("frames", *shelf.folders_in("Data"))
    sound_folders = ("audio", *folders[1:])
    found = (
        _row(root, shelf, where, name, annotated.get(name), folders, sound_folders)
        for where, name in names
    )
    spec = f"flickr_soundnet:{path}" + (f"@{split}" if split else "")
    return OfficialSource(spec, root, found, listed_in=listed_in)


def _row(
    root: epath.Path,
    shelf: Shelf,
    where: str,
    name: str,
    annotation: str | None,
    folders: tuple[str, ...],
    sound_folders: tuple[str, ...],
) -> Row:
    picture = shelf.find(folders, name, PICTURE_SUFFIXES)
    sound = shelf.find(sound_folders, name, SOUND_SUFFIXES)
    if picture is None or sound is None:
        return Row(name, None, where)
    truth = _truth(root / annotation) if annotation else None
    return Row(name, picture, where, sounds=(sound,), truth=truth)


def _names(file: epath.Path) -> Iterator[tuple[str, str]]:
    for where, text in lines_of(file):
        name = inside(text.partition(",")[0].strip(), where)
        yield where, name.partition(".")[0]


def _truth(file: epath.Path) -> dict[str, Any]:
    boxes = []
    for parent in xml_of(file):
        for child in parent:
            if child.tag != "bbox":
                continue
            cells = [element.text for element in child][1:]
            if len(cells) != 4:
                raise UsageError(
                    f"'{printable(str(file))}': a bbox of {len(cells)} numbers where 4 belong; is it torn?"
                )
            pixels = [number(cell, printable(str(file)), "bbox") for cell in cells]
            boxes.append([min(pixel / PICTURE_SIZE, 1.0) for pixel in pixels])
    return {"sounding_boxes": boxes, "consensus": CONSENSUS}
