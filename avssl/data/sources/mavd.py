"""MAVD, street scenes seen by several cameras and heard by eight microphones: `mavd:ROOT@train_all`."""

from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import find_list, inside, lines_of, named, root_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

NUM_MICROPHONES = 8
# A time stamp with fewer digits of nanoseconds is none.
NANOSECOND_DIGITS = 9


def open_mavd(path: str, split: str | None) -> OfficialSource:
    """The moments of a list ROOT/SPLIT.txt (train_all, val_all, test_all, train_day_all, ...).

    A line is DRIVE/SECONDS_NANOSECONDS_CODE. A moment is the picture
    DRIVE/fl_rgb/fl_rgb_STAMP.png with the sounds DRIVE/audio/audio_K_STAMP.wav of the microphones 0 to
    7, a channel each; the key is the line. Nanoseconds of fewer than nine digits are left out, as the
    official loader does. There are no labels: boxes are what teachers say. `truth` has `day`. Where
    they are on disk, DRIVE/fl_ir_aligned/fl_ir_aligned_STAMP.png and DRIVE/fl_rgb_depth/fl_rgb_STAMP.pfm
    are video tracks `thermal` and `depth` beside the picture; distances by their logarithm, in grey, where
    the official loader colours them.

    Pictures come whole; the official loader cuts columns 200 to 1720 out. Views of 8
    channels hear the microphones; others their mean, as they are no loudspeakers: in their one channel, in
    both of two, in W of four.

    Verified in robot-learning-freiburg/MM-DistillNet (src/datasets/MultimodalDetection.py,
    BaseDataset.py, configs/best.cfg); no list was seen.
    """
    root, path, split = root_of("mavd", path, split)
    split = named("mavd", split, "one such as train_all")
    file = find_list(root, split, ("",), (".txt",), "list")
    found = _rows(file, Shelf(root))
    return OfficialSource(f"mavd:{path}@{split}", root, found, listed_in=file.name)


def _rows(file: epath.Path, shelf: Shelf) -> Iterator[Row]:
    for where, text in lines_of(file):
        drive, slash, stamp = inside(text, where).partition("/")
        parts = stamp.split("_")
        if not slash or len(parts) != 3:
            raise UsageError(
                f"{where}: '{printable(text)}' is not DRIVE/SECONDS_NANOSECONDS_CODE; is it torn?"
            )
        if len(parts[1]) < NANOSECOND_DIGITS:
            yield Row(text, None, where, reason="its time stamp is none")
            continue

        def find(folder: str, stem: str, suffix: str, drive: str = drive) -> str | None:
            return shelf.find((f"{drive}/{folder}",), stem, (suffix,))

        picture = find("fl_rgb", f"fl_rgb_{stamp}", ".png")
        sounds = [find("audio", f"audio_{k}_{stamp}", ".wav") for k in range(NUM_MICROPHONES)]
        heard = [sound for sound in sounds if sound is not None]
        if picture is None or len(heard) < NUM_MICROPHONES:
            yield Row(text, None, where)
            continue
        others = {
            "thermal": find("fl_ir_aligned", f"fl_ir_aligned_{stamp}", ".png"),
            "depth": find("fl_rgb_depth", f"fl_rgb_{stamp}", ".pfm"),
        }
        streams = {name: file for name, file in others.items() if file}
        yield Row(
            text, picture, where, sounds=heard, streams=streams, truth={"day": "day" in drive}
        )
