"""What all readers share: missing videos, repeated and torn lines, paths that lead out, registration."""

import errno
import os
import pickle

import pytest

from avssl.data.open import open_source
from avssl.data.record import Source
from avssl.data.sources.lists import find_list, json_of, lines_of, rows_of, table_of, xml_of
from avssl.data.sources.published import OPENERS
from avssl.data.sources.shelf import Shelf
from avssl.data.spec import DATA_SETS, KINDS
from avssl.errors import UsageError
from tests.data.published.trees import keys, opened, plant, rows, video

LINES = [f"id{number}_id{number},{number},class {number % 2},train" for number in range(5)]


@pytest.fixture
def tree(tmp_path):
    """A VGGSound of five clips in its list, of which three are there."""
    files = {f"video/id{n}_id{n}_00000{n}.mp4": video(n) for n in (1, 2, 4)}
    return plant(tmp_path / "data", {"vggsound.csv": rows(*LINES), **files})


def test_every_kind_has_a_form_and_an_opener():
    assert sorted(OPENERS) == sorted(DATA_SETS)
    assert not DATA_SETS.keys() & KINDS.keys()
    assert all(form.startswith(f"{kind}:PATH") for kind, form in DATA_SETS.items())


@pytest.mark.parametrize("kind", OPENERS)
def test_an_empty_folder_is_refused_in_one_sentence(kind, tmp_path):
    split = DATA_SETS[kind].partition("@")[2]
    with pytest.raises(UsageError) as caught:
        opened(kind, tmp_path, split)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="does not exist"):
        opened(kind, tmp_path / "none", split)


def test_missing_videos_are_counted_listed_and_said(tree, caplog):
    source = opened("vggsound", tree, "train")
    assert isinstance(source, Source)
    assert keys(source) == ["id1_id1_000001", "id2_id2_000002", "id4_id4_000004"]
    assert source.skipped == (
        ("id0_id0_000000", "not on disk"),
        ("id3_id3_000003", "not on disk"),
    )
    (message,) = [record.getMessage() for record in caplog.records]
    assert "2 of the 5 records that vggsound.csv lists are not on disk" in message
    assert "id0_id0_000000, id3_id3_000003" in message
    assert "results are over 3" in message


def test_without_any_video_it_is_an_error(tmp_path):
    plant(tmp_path, {"vggsound.csv": rows(*LINES)})
    with pytest.raises(UsageError, match=r"none of the 5 records .* \(id0_id0_000000, .*\.\.\.\)"):
        opened("vggsound", tmp_path, "train")


def test_a_repeated_line_is_left_out(tree):
    plant(tree, {"vggsound.csv": rows(*LINES, LINES[1])})
    source = opened("vggsound", tree, "train")
    assert len(source) == 3
    key, reason = source.skipped[-1]
    assert key == "id1_id1_000001"
    assert reason.endswith(":2")
    assert ":6 repeats " in reason


def test_pickles_and_knows_its_data(tree, tmp_path):
    source = opened("vggsound", tree, "train")
    copy = pickle.loads(pickle.dumps(source))
    assert copy[1] == source[1]
    assert copy.fingerprint == source.fingerprint
    (tree / "video" / "id2_id2_000002.mp4").write_bytes(b"other")
    assert opened("vggsound", tree, "train").fingerprint != source.fingerprint
    with pytest.raises(IndexError):
        source[3]
    assert source.modalities() is None


def test_is_a_part_of_a_mix_although_its_kind_holds_digits(tree):
    mix = open_source(f"vggsound:{tree}@train*2+vggsound:{tree}@train")
    assert len(mix) == 6


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "http://x/y", "a\tb"])
def test_a_list_names_nothing_outside(name, tree):
    plant(tree, {"vggsound.csv": rows(*LINES, f'"{name}",3,class,train')})
    with pytest.raises(UsageError, match=r"vggsound\.csv:6: .* names no file below"):
        opened("vggsound", tree, "train")


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (lambda file: list(lines_of(file)), b" \n\n", "is empty"),
        (lambda file: list(lines_of(file)), "a\n".encode("utf-16"), "no UTF-8"),
        (lambda file: list(rows_of(file, num_cells=(2, 3))), b"a,b\na\n", "list:2: 1 cells where 2 or 3"),
        (lambda file: list(rows_of(file, num_cells=(1,))), b'#x\n"a', "list:2: .* torn"),
        (lambda file: list(rows_of(file, num_cells=(1,))), b"# only a comment\n", "is empty"),
        (lambda file: list(table_of(file, ("a", "b"))), b"a,c\n1,2\n", "no column 'b'"),
        (lambda file: list(table_of(file, ("a", "b"))), b"a,b\n1,2\n3\n", "list:3: 1 cells"),
        (json_of, b'{"a": [1, 2', "no JSON .* torn"),
        (json_of, b"[" * 100_000, "nests deeper"),
        (json_of, b"[" + b"1" * 5000 + b"]", "no JSON .*limit"),
        (xml_of, b"<a><b></a>", "no XML .* torn"),
        (xml_of, b'<?xml version="1.0" encoding="latin-1"?>\n<a>\xe9</a>', "list:2: no UTF-8"),
        (xml_of, b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "defines entities"),
    ],
)  # fmt: skip
def test_torn_lists(read, content, message, tmp_path):
    file = tmp_path / "list"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_a_table_says_what_find_says(tmp_path):
    names = ("first/a.wav", "second/a.mp4", "second/b.txt", "second/b.flac", "c.mp4")
    shelf = Shelf(plant(tmp_path, dict.fromkeys(names, "")))
    folders = ("none", "first", "second", "")
    table = shelf.table(folders)
    assert table == {"a": "first/a.wav", "b": "second/b.flac", "c": "c.mp4"}
    assert table == {stem: shelf.find(folders, stem) for stem in "abc"}


@pytest.mark.parametrize(
    "look", [Shelf.stems, Shelf.folders_in, lambda shelf, folder: shelf.table([folder])]
)
@pytest.mark.parametrize(
    ("error", "message"),
    [(OSError(errno.EIO, "Input/output error"), "'.*/first' cannot be listed .Input/output error"),
     (FileNotFoundError(errno.ENOENT, "gone"), None), (NotADirectoryError(errno.ENOTDIR, "a file"), None)],
)  # fmt: skip
def test_a_folder_that_cannot_be_listed_is_no_empty_one(
    tmp_path, monkeypatch, look, error, message
):
    shelf = Shelf(plant(tmp_path, {"first/a.wav": ""}))

    def failing(_path):
        raise error

    monkeypatch.setattr(os, "listdir", failing)
    monkeypatch.setattr(os, "scandir", failing)
    if message is None:
        assert not look(shelf, "first")
        return
    with pytest.raises(UsageError, match=message):
        look(shelf, "first")


def test_an_unknown_list_names_those_that_are_there(tmp_path):
    plant(tmp_path, {"lists/one.txt": "a\n", "lists/two.txt": "b\n"})
    folders, suffixes = ("", "lists"), (".txt",)
    found = find_list(tmp_path, "one", folders, suffixes, "list")
    assert found == find_list(tmp_path, "one.txt", folders, suffixes, "list")
    with pytest.raises(UsageError, match=r"no list 'three'; there are one\.txt, two\.txt"):
        find_list(tmp_path, "three", folders, suffixes, "list")
    with pytest.raises(UsageError, match="leads out"):
        find_list(tmp_path, "../one", folders, suffixes, "list")
