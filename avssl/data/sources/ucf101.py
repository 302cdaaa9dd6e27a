"""UCF101 and the part of it that has sound: `ucf101:ROOT@trainlist01`, `ucf51:ROOT@testlist01`."""

from collections.abc import Iterator

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, find_file, inside, lines_of, root_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

SPLITS = tuple(f"{part}list0{fold}" for part in ("train", "test") for fold in (1, 2, 3))
LIST_FOLDERS = ("ucfTrainTestlist", "")
FOLDERS = ("UCF-101", "data", "")
# UCF101 grew out of UCF50, whose videos have no sound.
_OF_UCF50 = (
    "BaseballPitch Basketball BenchPress Biking Billiards BreastStroke CleanAndJerk Diving Drumming "
    "Fencing GolfSwing HighJump HorseRace HorseRiding HulaHoop JavelinThrow JugglingBalls JumpRope "
    "JumpingJack Kayaking Lunges MilitaryParade Mixing Nunchucks PizzaTossing PlayingGuitar "
    "PlayingPiano PlayingTabla PlayingViolin PoleVault PommelHorse PullUps Punch PushUps "
    "RockClimbingIndoor RopeClimbing Rowing SalsaSpin SkateBoarding Skiing Skijet SoccerJuggling "
    "Swing TaiChi TennisSwing ThrowDiscus TrampolineJumping VolleyballSpiking WalkingWithDog "
    "YoYo"
)
SILENT = frozenset(_OF_UCF50.split())


def open_ucf101(path: str, split: str | None) -> OfficialSource:
    """The videos of trainlist01 to 03 and testlist01 to 03.

    Lists and classInd.txt (`1 ApplyEyeMakeup`) lie in ROOT/ucfTrainTestlist or in ROOT. A line is
    `Class/v_Class_g01_c01.avi`, in a training list with the number of its class behind it. Videos lie
    in ROOT/UCF-101, ROOT/data or ROOT, in a folder of their class; another suffix than .avi is found
    too. The key is the name in the list. Classes are numbered as in classInd.txt, from 0.

    Verified in yanbeic/CCL (util_scripts/ucf101_json.py) and pedro-morgado/AVSpatialAlignment
    (datasets/ucf.py), which read these files and `data`; UCF-101 is the folder of the archive.
    """
    return _open("ucf101", path, split, frozenset())


def open_ucf51(path: str, split: str | None) -> OfficialSource:
    """Of the same lists the videos of the 51 classes with sound, as CCL (Chen et al. 2021) takes them.

    Classes are numbered in the order of their names. CCL takes the classes that its folder of audio
    features has, which is not published as a list. These are the classes of UCF101 that UCF50 has not:
    51, and 48 of them are all that the sound of UCF101 is used for in ExplainableML/AVCA-GZSL
    (class-split/cls_split), of the same authors; BandMarching, BrushingTeeth and Typing follow from
    the rule alone (not verified).
    """
    return _open("ucf51", path, split, SILENT)


def _open(kind: str, path: str, split: str | None, left_out: frozenset[str]) -> OfficialSource:
    root, path, split = root_of(kind, path, split)
    split = chosen(kind, split, SPLITS)
    file, numbered = (
        find_file(root, [f"{folder}/{name}".lstrip("/") for folder in LIST_FOLDERS], what)
        for name, what in ((f"{split}.txt", "the official list"), ("classInd.txt", "its classes"))
    )
    official = _classes(numbered)
    kept = [name for name in official if name not in left_out]
    names = sorted(kept) if left_out else kept
    place = {name: label for label, name in enumerate(names)}
    shelf = Shelf(root)
    found = (
        Row(
            key,
            shelf.find(FOLDERS, key.rpartition(".")[0], official=key),
            where,
            label=place[name],
        )
        for where, key, name in _lines(file, official)
        if name in place
    )
    return OfficialSource(f"{kind}:{path}@{split}", root, found, names, listed_in=file.name)


def _classes(file: epath.Path) -> list[str]:
    names = []
    for where, text in lines_of(file):
        number, _, name = text.partition(" ")
        if number != str(len(names) + 1) or not name.strip():
            raise UsageError(
                f"{where}: '{printable(text)}' is not number {len(names) + 1} and a class"
            )
        names.append(name.strip())
    return names


def _lines(file: epath.Path, classes: list[str]) -> Iterator[tuple[str, str, str]]:
    """(file and line, name of the video, its class)"""
    for where, text in lines_of(file):
        cells = text.split()
        name = inside(cells[0], where).partition("/")[0]
        if name not in classes or "." not in cells[0]:
            raise UsageError(f"{where}: '{printable(cells[0])}' is no video of a class of the set")
        if cells[1:] and cells[1:] != [str(classes.index(name) + 1)]:
            raise UsageError(
                f"{where}: '{printable(text)}' has another number than class {name} in classInd.txt"
            )
        yield where, cells[0], name
