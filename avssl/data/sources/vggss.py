"""VGG-SS (VGG-Sound Source), boxes for VGGSound: `vggss:ROOT@vggss_test`, `@vggss_heard_test` ..., or all."""

import math
from collections.abc import Mapping
from typing import Any

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import (
    find_file,
    find_list,
    inside,
    json_of,
    lines_of,
    number,
    root_of,
    word,
)
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import (
    PICTURE_SUFFIXES,
    SOUND_SUFFIXES,
    VIDEO_SUFFIXES,
    Shelf,
)
from avssl.errors import UsageError

ANNOTATIONS = ("vggss.json", "metadata/vggss.json")
LIST_FOLDERS = ("", "metadata")


def open_vggss(path: str, split: str | None) -> OfficialSource:
    """The clips of vggss.json, or those of a list of it: vggss_test, vggss_heard_test, vggss_unheard_test.

    The annotation and the lists (a name ID_SSSSSS in each line) lie in ROOT or ROOT/metadata. A clip
    is ROOT/frames/NAME.jpg with ROOT/audio/NAME.wav, or else the VGGSound clip itself in ROOT/video
    or ROOT; the frame that was annotated is its middle one, which a centred window holds. The key is
    the name, as of VGGSound. Classes are those of the whole annotation, sorted.

    `truth` has `sounding_boxes` (x0, y0, x1, y1 in shares of the picture, cut at its edge), a box of
    each object.

    Verified in hche11/Localizing-Visual-Sounds-the-Hard-Way: vggss.json (a list of `file`, `class`,
    `bbox`), vggss_test.csv, frames and audio, boxes below 0 set to 0 (utils.py); in stoneMo/EZ-VSL: the
    two other lists, and boxes cut at 0 and 1 (datasets.py). That the annotated frame is the middle one
    is as recalled of the paper.
    """
    root, path, split = root_of("vggss", path, split)
    annotation = find_file(root, ANNOTATIONS, "the boxes of the data set")
    entries = _entries(annotation)
    if split is None:
        names, listed_in = (
            [(f"{annotation.name} of {name}", name) for name in entries],
            annotation.name,
        )
    else:
        file = find_list(root, split, LIST_FOLDERS, (".csv", ".txt"), "list")
        names = [(where, text.partition(",")[0].strip()) for where, text in lines_of(file)]
        listed_in = file.name
    for where, name in names:
        if name not in entries:
            raise UsageError(f"{where}: '{printable(name)}' has no boxes in {annotation.name}")
    label_names = sorted({label for label, _ in entries.values()})
    place = {name: label for label, name in enumerate(label_names)}
    shelf = Shelf(root)
    found = (_row(shelf, where, name, place, *entries[name]) for where, name in names)
    spec = f"vggss:{path}" + (f"@{split}" if split else "")
    return OfficialSource(spec, root, found, label_names, listed_in=listed_in)


def _row(
    shelf: Shelf,
    where: str,
    name: str,
    place: Mapping[str, int],
    label: str,
    boxes: list[list[float]],
) -> Row:
    picture = shelf.find(("frames",), name, PICTURE_SUFFIXES)
    sound = shelf.find(("audio",), name, SOUND_SUFFIXES)
    if picture is None or sound is None:
        picture, sound = shelf.find(("video", ""), name, VIDEO_SUFFIXES), None
    truth = {"sounding_boxes": boxes}
    return Row(
        name, picture, where, sounds=(sound,) if sound else (), label=place[label], truth=truth
    )


def _entries(file: epath.Path) -> dict[str, tuple[str, list[list[float]]]]:
    """(class, boxes) by the name of the clip."""
    entries: dict[str, tuple[str, list[list[float]]]] = {}
    listed = json_of(file)
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"'{printable(str(file))}' is no list of clips with their boxes")
    for place, entry in enumerate(listed):
        where = f"{printable(str(file))}, entry {place}"
        try:
            name, label = (word(entry[column], where, column) for column in ("file", "class"))
            boxes = [_box(box, where) for box in entry["bbox"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{where}: not a file, a class and boxes of four numbers; is it torn?"
            ) from error
        entries[inside(name, where)] = label, boxes
    return entries


def _box(box: Any, where: str) -> list[float]:
    # Some go beyond the edge of the picture.
    sides = (number(side, where, "bbox", least=-math.inf) for side in box)
    x0, y0, x1, y1 = (min(max(side, 0.0), 1.0) for side in sides)
    return [x0, y0, x1, y1]
