"""ActivityNet, a record for each annotated segment: `activitynet:ROOT@training`."""

from collections.abc import Iterator
from typing import Any

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import (
    chosen,
    find_file,
    inside,
    json_of,
    number,
    root_of,
    word,
)
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

SPLITS = ("training", "validation", "testing")
ANNOTATIONS = ("activity_net.v1-3.min.json", "activity_net.v1-2.min.json")
FOLDERS = ("videos", "v1-2/train", "v1-2/val", "v1-2/test", "v1-3/train_val", "v1-3/test", "")


def open_activitynet(path: str, split: str | None) -> OfficialSource:
    """The segments of the subsets training, validation and testing of activity_net.v1-3.min.json, else v1-2.

    A segment is a part of its video with one class, and has the key `v_ID#t=START,END`. The testing
    subset has no annotations: its records are whole videos without a class. Videos are v_ID of any
    suffix in ROOT/videos, in the folders of the archives (v1-2/train, v1-2/val, v1-3/train_val, ...:
    1.3 needs those of 1.2) or in ROOT. Classes are those of all annotations, sorted. A segment that
    ends where it begins or before is left out, and listed.

    Verified in activitynet/ActivityNet (Crawler/ActivityNetParser.py): the form of the annotations and
    v_ID; the archives' folders in instructions of others, v1-2/test and v1-3/test by their names.
    """
    root, path, split = root_of("activitynet", path, split)
    split = chosen("activitynet", split, SPLITS)
    file = find_file(root, ANNOTATIONS, "the annotations of the data set")
    database = _database(file)
    labels = sorted({label for _, parts in database.values() for _, _, label in parts})
    place = {label: number for number, label in enumerate(labels)}
    shelf = Shelf(root)
    found = _rows(database, split, place, shelf, file.name)
    spec = f"activitynet:{path}@{split}"
    return OfficialSource(spec, root, found, labels, listed_in=file.name)


Segments = list[tuple[float, float, str]]


def _rows(
    database: dict[str, tuple[str, Segments]],
    split: str,
    place: dict[str, int],
    shelf: Shelf,
    listed_in: str,
) -> Iterator[Row]:
    for name, (subset, segments) in database.items():
        if subset != split:
            continue
        media = shelf.find(FOLDERS, f"v_{name}")
        where = f"{listed_in}: {name}"
        if not segments:
            yield Row(f"v_{name}", media, where)
        for start, end, label in segments:
            key = f"v_{name}#t={start:.10g},{end:.10g}"
            if end <= start:
                yield Row(key, None, where, reason="its segment ends where it begins or before")
                continue
            yield Row(key, media, where, label=place[label], start_seconds=start, end_seconds=end)


def _database(file: epath.Path) -> dict[str, tuple[str, Segments]]:
    """(subset, segments) by the id of the video."""
    whole = json_of(file)
    database = whole.get("database") if isinstance(whole, dict) else None
    if not isinstance(database, dict):
        raise UsageError(f"'{printable(str(file))}' has no 'database' of videos")
    listed_in = printable(str(file))
    return {
        name: _video(f"{listed_in}: {printable(name)}", name, entry)
        for name, entry in database.items()
    }


def _video(where: str, name: str, entry: Any) -> tuple[str, Segments]:
    inside(name, where)
    try:
        segments = [
            (
                number(annotation["segment"][0], where, "start"),
                number(annotation["segment"][1], where, "end"),
                word(annotation["label"], where, "label"),
            )
            for annotation in entry["annotations"]
        ]
        return word(entry["subset"], where, "subset"), segments
    except (KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{where}: no subset and annotations of segment and label") from error
