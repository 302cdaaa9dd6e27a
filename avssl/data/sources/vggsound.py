"""VGGSound: `vggsound:ROOT@train`, `@test`, or a list of its clips such as `@vggss_144k`."""

from collections.abc import Iterator, Mapping

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import (
    chosen,
    find_file,
    find_list,
    inside,
    lines_of,
    root_of,
    rows_of,
    whole,
)
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

SPLITS = ("train", "test")
LISTS = ("vggsound.csv", "data/vggsound.csv")
FOLDERS = ("video", "", "audio")
LIST_FOLDERS = ("", "metadata")
LIST_SUFFIXES = (".txt", ".csv")


def open_vggsound(path: str, split: str | None) -> OfficialSource:
    """The clips of vggsound.csv: a row is YouTube id, start in seconds, class, train or test; no header.

    Clips are files ID_SSSSSS with the start in six digits, of any suffix, in ROOT/video, ROOT itself
    or ROOT/audio (sound alone). The key of a record is that name, which VGG-SS has as well. Classes
    are all those of the list, sorted, as the official loader numbers them. Any other split is a file
    with a name in each line, in ROOT or ROOT/metadata, as EZ-VSL has for training: vggss_10k.txt,
    vggss_144k.txt, vggss_heard.txt.

    Verified in hche11/VGGSound: the columns in its README, the names in data/test.csv, the order of
    classes and `.wav` beside in datasets/dataloader.py; the lists in stoneMo/EZ-VSL. No folder is
    prescribed; `video` is that of copies in circulation (as recalled).
    """
    root, path, split = root_of("vggsound", path, split)
    if split is None:
        split = chosen("vggsound", split, SPLITS)
    file = find_file(root, LISTS, "the list of the data set")
    rows = list(_rows(file))
    label_names = sorted({label for _, _, label, _ in rows})
    place = {name: label for label, name in enumerate(label_names)}
    if split in SPLITS:
        wanted = [(where, key, label) for where, key, label, part in rows if part == split]
    else:
        file = find_list(root, split, LIST_FOLDERS, LIST_SUFFIXES, "list")
        wanted = list(_listed(file, {key: label for _, key, label, _ in rows}))
    shelf = Shelf(root)
    found = (
        Row(key, shelf.find(FOLDERS, key), where, label=place[label])
        for where, key, label in wanted
    )
    spec = f"vggsound:{path}@{split}"
    return OfficialSource(spec, root, found, label_names, listed_in=file.name)


def _listed(file: epath.Path, label_of: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for where, key in lines_of(file):
        if key not in label_of:
            raise UsageError(f"{where}: '{printable(key)}' is no clip of VGGSound; is it torn?")
        yield where, key, label_of[key]


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
        yield where, f"{inside(youtube_id.strip(), where)}_{seconds:06d}", label, part
