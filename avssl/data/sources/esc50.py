"""ESC-50 and ESC-10, in five folds: `esc50:ROOT@train1`, `esc50:ROOT@test1`, `esc10:ROOT@test5`."""

from avssl.data.keys import printable
from avssl.data.sources.lists import chosen, find_file, inside, root_of, table_of, whole
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

FOLDS = (1, 2, 3, 4, 5)
SPLITS = tuple(f"{part}{fold}" for part in ("train", "test") for fold in FOLDS)
COLUMNS = ("filename", "fold", "target", "category", "esc10")
LIST = "meta/esc50.csv"


def open_esc50(path: str, split: str | None) -> OfficialSource:
    """The clips of meta/esc50.csv, files in ROOT/audio.

    `test1` is fold 1 and `train1` the other four: a published accuracy is the mean over the five.
    Without a split all 2000. Classes are numbered as the column `target`.

    Verified in the README of karolpiczak/ESC-50: the folders, the columns and 5 s of 44.1 kHz mono.
    """
    return _open("esc50", path, split)


def open_esc10(path: str, split: str | None) -> OfficialSource:
    """The clips whose column `esc10` is True: ten classes, numbered in the order of `target`."""
    return _open("esc10", path, split)


def _open(kind: str, path: str, split: str | None) -> OfficialSource:
    root, path, split = root_of(kind, path, split)
    part, held_out = "", 0
    if split is not None:
        split = chosen(kind, split, SPLITS)
        part, held_out = split[:-1], int(split[-1])
    file = find_file(root, (LIST,), "the list of the data set")
    names: dict[int, str] = {}
    rows = []
    for where, cells in table_of(file, COLUMNS):
        fold, target = (whole(cells[name], where, name) for name in ("fold", "target"))
        if fold not in FOLDS or cells["esc10"] not in ("True", "False"):
            raise UsageError(
                f"{where}: fold '{printable(cells['fold'])}' is not 1 to 5, or esc10 "
                f"'{printable(cells['esc10'])}' neither True nor False"
            )
        if kind == "esc10" and cells["esc10"] == "False":
            continue
        if names.setdefault(target, cells["category"]) != cells["category"]:
            raise UsageError(
                f"{where}: class {target} is '{printable(cells['category'])}' here and "
                f"'{printable(names[target])}' before"
            )
        rows.append((where, inside(cells["filename"], where), fold, target))
    place = {target: label for label, target in enumerate(sorted(names))}
    shelf = Shelf(root)
    found = (
        Row(
            key,
            shelf.find(("audio",), key.rpartition(".")[0], official=key),
            where,
            label=place[target],
        )
        for where, key, fold, target in rows
        if not part or (fold == held_out) == (part == "test")
    )
    spec = f"{kind}:{path}" + (f"@{split}" if split else "")
    ordered = [names[target] for target in sorted(names)]
    return OfficialSource(spec, root, found, ordered, listed_in=file.name)
