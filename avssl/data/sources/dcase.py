"""Weakly labelled sound events, task 4 of DCASE: `dcase2017:ROOT@training_set`, `dcase2018:ROOT@weak`."""

from collections.abc import Sequence

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, find_file, inside, number, root_of, rows_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import MEDIA_SUFFIXES, Shelf
from avssl.errors import UsageError

SPLITS_2017 = ("training_set", "testing_set", "evaluation_set")
LIST_FOLDERS_2017 = ("", "metadata/", "raw/")
CLASSES_2017 = (
    "Train horn", "Air horn, truck horn", "Car alarm", "Reversing beeps", "Ambulance (siren)",
    "Police car (siren)", "Fire engine, fire truck (siren)", "Civil defense siren", "Screaming",
    "Bicycle", "Skateboard", "Car", "Car passing by", "Bus", "Truck", "Motorcycle", "Train",
)  # fmt: skip
# The folder of a list and of its audio, below metadata and below audio.
SPLITS_2018 = {
    "weak": ("train", "train/weak"),
    "unlabel_in_domain": ("train", "train/unlabel_in_domain"),
    "unlabel_out_of_domain": ("train", "train/unlabel_out_of_domain"),
    "test": ("test", "test"),
    "eval": ("eval", "eval"),
}
CLASSES_2018 = (
    "Alarm_bell_ringing", "Blender", "Cat", "Dishes", "Dog", "Electric_shaver_toothbrush", "Frying",
    "Running_water", "Speech", "Vacuum_cleaner",
)  # fmt: skip


def open_dcase2017(path: str, split: str | None) -> OfficialSource:
    """The clips of training_set, testing_set or evaluation_set with their weak labels, several a clip.

    The list is groundtruth_weak_label_SPLIT.csv in ROOT, ROOT/metadata or ROOT/raw: tabs between file,
    start, end and one class; a clip has a line for each of its classes. Audio is the file's name with
    a Y in front, of any suffix, in ROOT/audio or in the folders of the organisers' download
    (unbalanced_train_segments_SPLIT_audio_formatted_and_segmented_downloads,
    SPLIT_SPLIT_audio_formatted_and_segmented_downloads, evaluation_set_formatted_audio_segments), below
    ROOT or ROOT/raw. The key is the name in the list. The 17 classes are in the organisers' order.

    Verified in dcase_util (a class of it for this task) and in code that reads the download: lists,
    columns, Y, folders, classes. Strong labels are not read: their columns were not seen.
    """
    root, path, split = root_of("dcase2017", path, split)
    split = chosen("dcase2017", split, SPLITS_2017)
    name = f"groundtruth_weak_label_{split}.csv"
    places = [f"{folder}{name}" for folder in LIST_FOLDERS_2017]
    file = find_file(root, places, "the official list")
    wheres: dict[str, str] = {}
    classes: dict[str, list[int]] = {}
    for where, (clip, start, end, label) in rows_of(file, num_cells=(4,), delimiter="\t"):
        for cell in (start, end):
            number(cell, where, "time")
        key = inside(clip.strip(), where)
        wheres.setdefault(key, where)
        classes.setdefault(key, []).append(_class(label, CLASSES_2017, where))
    download = "audio_formatted_and_segmented_downloads"
    folders = [
        f"{below}{folder}"
        for below in ("", "raw/")
        for folder in (
            "audio",
            f"unbalanced_train_segments_{split}_{download}",
            f"{split}_{split}_{download}",
            f"{split}_formatted_audio_segments",
        )
    ]
    shelf = Shelf(root)
    found = (
        Row(
            key,
            shelf.find(folders, f"Y{_stem(key)}", official=key),
            where,
            classes=sorted(set(classes[key])),
        )
        for key, where in wheres.items()
    )
    spec = f"dcase2017:{path}@{split}"
    return OfficialSource(spec, root, found, CLASSES_2017, listed_in=file.name, multi_label=True)


def open_dcase2018(path: str, split: str | None) -> OfficialSource:
    """The clips of weak, unlabel_in_domain, unlabel_out_of_domain, test or eval, several classes a clip.

    Lists are ROOT/metadata/train/weak.csv and so on, tabs between cells: a file alone, a file and its
    classes (`Dog;Speech`), or a file, onset, offset and class, a line for each event. Audio lies in
    ROOT/audio/train/weak and so on, of any suffix. The key is the name in the list. The ten classes
    are sorted; a clip of a list of files alone has no `truth["classes"]`, which is not the same as none of
    them. Where the list has times, `truth["events"]` holds [onset, offset, class] of each.

    Verified in DCASE-REPO/dcase2018_baseline (task4/dataset: readme.md, metadata/test/test.csv), but
    for the folder audio/eval, which follows from the others. A line of names at the top and commas
    between classes, as later years have them, are read as well.
    """
    root, path, split = root_of("dcase2018", path, split)
    split = chosen("dcase2018", split, tuple(SPLITS_2018))
    folder, audio = SPLITS_2018[split]
    places = (f"metadata/{folder}/{split}.csv",)
    file = find_file(root, places, "the official list")
    wheres: dict[str, str] = {}
    classes: dict[str, set[int] | None] = {}
    events: dict[str, list[list[float | str]]] = {}
    for where, cells in rows_of(file, num_cells=(1, 2, 4), delimiter="\t"):
        if cells[0] == "filename":
            continue
        key = inside(cells[0].strip(), where)
        wheres.setdefault(key, where)
        if len(cells) == 1:
            classes.setdefault(key, None)
            continue
        labels = cells[-1].replace(",", ";").split(";")
        numbers = [_class(label, CLASSES_2018, where) for label in labels if label.strip()]
        classes[key] = (classes.get(key) or set()).union(numbers)
        if len(cells) == 4 and numbers:
            onset, offset = (number(cell, where, "time") for cell in cells[1:3])
            events.setdefault(key, []).append([onset, offset, CLASSES_2018[numbers[0]]])
    shelf = Shelf(root)
    found = (
        Row(
            key,
            shelf.find((f"audio/{audio}",), _stem(key), official=key),
            where,
            classes=None if (numbers := classes[key]) is None else sorted(numbers),
            truth={"events": events[key]} if key in events else None,
        )
        for key, where in wheres.items()
    )
    spec = f"dcase2018:{path}@{split}"
    return OfficialSource(spec, root, found, CLASSES_2018, listed_in=file.name, multi_label=True)


def _class(label: str, names: Sequence[str], where: str) -> int:
    if label.strip() not in names:
        raise UsageError(f"{where}: '{printable(label)}' is no class of the data set; is it torn?")
    return names.index(label.strip())


def _stem(name: str) -> str:
    """Without the suffix; `ID_30.000_40.000` ends in none."""
    suffix = "." + name.rpartition(".")[2].lower()
    return name[: -len(suffix)] if suffix in MEDIA_SUFFIXES else name
