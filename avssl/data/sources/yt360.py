"""YT-360, 360-degree video with ambisonics: `yt360:ROOT@train`, `@test`."""

from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, find_file, inside, lines_of, root_of, whole
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import SOUND_SUFFIXES, VIDEO_SUFFIXES, Shelf
from avssl.errors import UsageError

SPLITS = ("train", "test")
LIST_FOLDERS = ("", "datasets/assets/yt360/", "assets/yt360/")
SEGMENTS = "segments.txt"


def open_yt360(path: str, split: str | None) -> OfficialSource:
    """The segments of 10 s, already cut, of the videos in train.txt or test.txt.

    The lists (an id a line) and segments.txt (`ID 0,12,33`: starts in seconds) lie in ROOT or in
    ROOT/datasets/assets/yt360. A segment is ROOT/video/ID-START with the picture and ROOT/audio/ID-START
    with four channels (ACN order, SN3D), each of any suffix; a record holds both
    (`avssl.media.pairing`), and a segment that lacks one is none. The key is ID-START. A video that
    segments.txt does not have is counted as left out.

    Verified in pedro-morgado/AVSpatialAlignment: README (names, folders), datasets/assets/yt360 (lists),
    datasets/spatial_audio.py (.mp4 and .m4a, the start as a number, both files needed).
    """
    root, path, split = root_of("yt360", path, split)
    split = chosen("yt360", split, SPLITS)
    file, segments = (
        find_file(root, [f"{folder}{name}" for folder in LIST_FOLDERS], what)
        for name, what in ((f"{split}.txt", "the official list"), (SEGMENTS, "its segments"))
    )
    starts = dict(_segments(segments))
    shelf = Shelf(root)
    pictures, sounds = (
        _by_start(shelf, folder, suffixes)
        for folder, suffixes in (("video", VIDEO_SUFFIXES), ("audio", SOUND_SUFFIXES))
    )
    found = _rows(file, starts, pictures, sounds)
    return OfficialSource(f"yt360:{path}@{split}", root, found, listed_in=file.name)


def _rows(
    file: epath.Path,
    starts: dict[str, list[int]],
    pictures: dict[tuple[str, int], str],
    sounds: dict[tuple[str, int], str],
) -> Iterator[Row]:
    for where, text in lines_of(file):
        name = inside(text, where)
        if name not in starts:
            yield Row(name, None, where, reason=f"not in {SEGMENTS}")
        for start in starts.get(name, ()):
            picture, sound = (files.get((name, start)) for files in (pictures, sounds))
            key = f"{name}-{start}"
            if picture is None or sound is None:
                yield Row(key, None, where)
            else:
                yield Row(key, picture, where, sounds=(sound,))


def _segments(file: epath.Path) -> Iterator[tuple[str, list[int]]]:
    for where, text in lines_of(file):
        name, _, listed = text.partition(" ")
        if not listed:
            raise UsageError(f"{where}: '{printable(text)}' is no id and starts; is it torn?")
        yield name, [whole(cell, where, "start") for cell in listed.split(",")]


def _by_start(shelf: Shelf, folder: str, suffixes: tuple[str, ...]) -> dict[tuple[str, int], str]:
    """The files of a folder by id and start, which may be written with zeros in front."""
    files = {}
    for stem in shelf.stems(folder, *suffixes):
        name, _, start = stem.rpartition("-")
        if start.isdecimal():
            files[name, int(start)] = shelf.find((folder,), stem, suffixes)
    return files
