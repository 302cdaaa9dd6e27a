"""VoxCeleb 1 and 2, trials of verification and splits of identification: `voxceleb:ROOT@veri_test2`."""

import logging
from collections.abc import Iterator, Mapping

from etils import epath

from avssl.data.keys import printable
from avssl.data.sources.lists import find_list, inside, lines_of, named, root_of
from avssl.data.sources.official import OfficialSource, Row
from avssl.data.sources.shelf import Shelf
from avssl.errors import UsageError

LOG = logging.getLogger("avssl")

# Of one utterance: the key of another, and whether it is the same person.
Trials = list[tuple[str, int]]

IDENTIFICATION = "iden_split"
PARTS = {"iden_train": "1", "iden_dev": "2", "iden_test": "3"}
FOLDERS = ("wav", "aac", "mp4", "")


def open_voxceleb(path: str, split: str | None) -> OfficialSource:
    """The utterances that a list names, each once; their class is who speaks.

    The split is a trial list in ROOT: veri_test, veri_test2, list_test_all2 (VoxCeleb1-E),
    list_test_hard2 (VoxCeleb1-H) or another of lines `1 ID/VIDEO/UTT.wav ID/VIDEO/UTT.wav`, where 1
    is the same person and 0 two; or iden_train, iden_dev, iden_test, the parts 1, 2, 3 of
    iden_split.txt. Utterances lie in ROOT/wav, ROOT/aac, ROOT/mp4 (faces with their voice) or ROOT,
    with any suffix. The key is the name in the list. Classes are the ids in the list, sorted.

    `truth["trials"]` of the first utterance of a pair holds [key of the other, 1 or 0] for each of its
    pairs; `avssl.evaluate.trials.listed_trials` collects them.

    Verified: both lists, what the numbers say and ROOT/wav in the documentation of torchaudio
    (VoxCeleb1Verification, VoxCeleb1Identification), the names of the trial lists in that of
    PaddleSpeech. VoxCeleb2 has no trial list of its own that we know of; `aac` and `mp4`, the folders
    of its archives, are as recalled.
    """
    root, path, split = root_of("voxceleb", path, split)
    split = named(
        "voxceleb", split, f"a trial list such as veri_test2 or one of {', '.join(PARTS)}"
    )
    name = IDENTIFICATION if split in PARTS else split
    file = find_list(root, name, ("",), (".txt",), "list")
    trials: dict[str, Trials] = {}
    where_of: dict[str, str] = {}
    for where, tag, *utterances in _lines(file, 1 if split in PARTS else 2):
        if split in PARTS and tag != PARTS[split]:
            continue
        for utterance in utterances:
            where_of.setdefault(utterance, where)
        if split not in PARTS:
            trials.setdefault(utterances[0], []).append((utterances[1], int(tag)))
    people = sorted({key.partition("/")[0] for key in where_of})
    place = {person: number for number, person in enumerate(people)}
    shelf = Shelf(root)
    found = (
        Row(
            key,
            shelf.find(FOLDERS, key.rpartition(".")[0], official=key),
            where,
            label=place[key.partition("/")[0]],
            truth={"trials": trials[key]} if key in trials else None,
        )
        for key, where in where_of.items()
    )
    spec = f"voxceleb:{path}@{split}"
    source = OfficialSource(spec, root, found, people, listed_in=file.name)
    _tell_lost(source, trials)
    return source


def _tell_lost(source: OfficialSource, trials: Mapping[str, Trials]) -> None:
    there = {source.key(index) for index in range(len(source))}
    total = sum(map(len, trials.values()))
    lost = sum(not {first, other} <= there for first in trials for other, _ in trials[first])
    if lost:
        LOG.warning(
            "%s: %d of %d trials lack an utterance; %d are left",
            source.spec,
            lost,
            total,
            total - lost,
        )


def _lines(file: epath.Path, num_utterances: int) -> Iterator[tuple[str, ...]]:
    """(file and line, number in front, utterances)"""
    tags = ("0", "1") if num_utterances == 2 else tuple(PARTS.values())
    for where, text in lines_of(file):
        tag, *utterances = text.split()
        if tag not in tags or len(utterances) != num_utterances:
            raise UsageError(
                f"{where}: '{printable(text)}' is not {' or '.join(tags)} and {num_utterances} "
                f"utterance{'s' if num_utterances > 1 else ''}; is it torn?"
            )
        for utterance in utterances:
            if "/" not in inside(utterance, where) or "." not in utterance:
                raise UsageError(f"{where}: '{printable(utterance)}' is no utterance of a person")
        yield where, tag, *utterances
