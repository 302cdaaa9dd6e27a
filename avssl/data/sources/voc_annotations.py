"""Boxes of a picture in the XML of PASCAL VOC: which objects are in it, and where."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import number, xml_of
from avssl.errors import UsageError

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def boxes_of(file: epath.Path) -> Iterator[tuple[str, list[float]]]:
    """(class, box x0, y0, x1, y1 in shares of the picture) of each object that is not difficult.

    Corners are pixels, counted from 1, which belong to their box.
    """
    where, root = printable(str(file)), xml_of(file)
    width, height = (
        number(root.findtext(f"size/{side}", ""), where, side, least=1.0)
        for side in ("width", "height")
    )
    # Direct children: the parts of a person have boxes of their own.
    for thing in root.findall("object"):
        name = thing.findtext("name", "").strip()
        if not name:
            raise UsageError(f"{where}: an object has no name; is it torn?")
        if thing.findtext("difficult", "0").strip() != "0":
            continue
        x0, y0, x1, y1 = corners(thing, where)
        box = [(x0 - 1) / width, (y0 - 1) / height, x1 / width, y1 / height]
        box = [min(max(share, 0.0), 1.0) for share in box]
        if box[0] >= box[2] or box[1] >= box[3]:
            raise UsageError(
                f"{where}: the box of '{printable(name)}' from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) is "
                f"nowhere in a picture of {width:g} x {height:g}; is it torn?"
            )
        yield name, box


def corners(thing: ElementTree.Element, where: str) -> list[float]:
    return [number(thing.findtext(f"bndbox/{corner}", ""), where, corner) for corner in CORNERS]
