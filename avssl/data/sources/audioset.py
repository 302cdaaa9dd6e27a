"""AudioSet, several classes a clip: `audioset:ROOT@balanced_train_segments`."""

from collections.abc import Iterator, Mapping

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import (
    find_list,
    inside,
    named,
    number,
    root_of,
    rows_of,
    table_of,
)
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

SPLITS = ("balanced_train_segments", "unbalanced_train_segments", "eval_segments")
LIST_FOLDERS = ("", "metadata")
CLASSES = "class_labels_indices"


def open_audioset(path: str, split: str | None) -> OfficialSource:
    """The segments of balanced_train_segments, unbalanced_train_segments or eval_segments.

    The lists (`YTID, start_seconds, end_seconds, "mid,mid,..."` after lines of comment) and
    class_labels_indices.csv (`index,mid,display_name`) lie in ROOT or ROOT/metadata; a list of the same
    form under another name is read too. A record has several classes: see `OfficialSource`. Its key
    is ID_STARTms_ENDms; media are the segments, already cut.

    Only ids are published, so how files are named is their collector's choice. Found are, with any
    suffix: ID_STARTms_ENDms (the audiosetdl downloader), YID (audioset_tagging_cnn) and ID, in
    ROOT/LIST, ROOT/audios/LIST and its folders, ROOT/video, ROOT/audio and ROOT.

    Verified: the lists' form in code that quotes their first lines, the header of the classes in code
    that reads it, ROOT/metadata, ROOT/audios/LIST and YID.wav in scripts of audioset_tagging_cnn, the
    names of audiosetdl in its code. The folders of ROOT/audios/unbalanced_train_segments are found by
    looking.
    """
    root, path, split = root_of("audioset", path, split)
    split = named("audioset", split, f"one of {', '.join(SPLITS)}")
    file = find_list(root, split, LIST_FOLDERS, (".csv",), "list")
    labels = find_list(root, CLASSES, LIST_FOLDERS, (".csv",), "list of classes")
    names, place = _classes(labels)
    name = file.name.removesuffix(".csv")
    shelf = Shelf(root)
    # The unbalanced list is so long that its audio comes in parts, a folder each.
    parts = shelf.folders_in(f"audios/{name}")
    media = shelf.table((name, f"audios/{name}", *parts, "video", "audio", ""))
    found = _rows(file, place, media)
    spec = f"audioset:{path}@{split}"
    return OfficialSource(spec, root, found, names, listed_in=file.name, multi_label=True)


def _classes(file: epath.Path) -> tuple[list[str], dict[str, int]]:
    names, place = [], {}
    for where, cells in table_of(file, ("index", "mid", "display_name")):
        if cells["index"].strip() != str(len(names)):
            raise UsageError(
                f"{where}: class {printable(cells['index'])} where {len(names)} belongs; is it torn?"
            )
        place[cells["mid"].strip()] = len(names)
        names.append(cells["display_name"].strip())
    return names, place


def _rows(file: epath.Path, place: Mapping[str, int], media: Mapping[str, str]) -> Iterator[Row]:
    # A space follows each comma, before the quotation mark too.
    for where, cells in rows_of(file, num_cells=(4,), skip_initial_space=True):
        youtube_id = inside(cells[0].strip(), where)
        start, end = (number(cells[column], where, "time") for column in (1, 2))
        mids = [mid.strip() for mid in cells[3].split(",")]
        for mid in mids:
            if mid not in place:
                raise UsageError(
                    f"{where}: '{printable(mid)}' is no class of {CLASSES}.csv; is the line torn?"
                )
        key = f"{youtube_id}_{round(start * 1000)}_{round(end * 1000)}"
        names = (key, f"Y{youtube_id}", youtube_id)
        found = next(filter(None, map(media.get, names)), None)
        yield Row(key, found, where, classes=sorted({place[mid] for mid in mids}))
