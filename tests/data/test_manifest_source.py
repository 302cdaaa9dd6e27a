import csv
import os
import time

import numpy as np
import pytest
from PIL import Image

from avssl.data.build import build
from avssl.data.open import open_source
from avssl.data.record import class_sets, known_class_sets
from avssl.data.sources.mix import MixedSource
from avssl.data.truth import STRUCTURED, objects_at
from avssl.errors import UsageError
from avssl.media.probe import probe


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest and opens it."""

    def make(content: str | bytes, **options):
        path = tmp_path / "clips.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return open_source(f"manifest:{path}", **options)

    return make


def keys(source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def test_all_columns(manifest, tmp_path):
    source = manifest(
        "path,label,start,end,caption\n"
        'b/x.mp4,dog,1.5,3,"a dog, barking"\n'
        "b/x.mp4,cat,3,,\n"
        "y.mp4,,,2,é\n"
        "z.mp4,cat\n"
        "\n"
    )
    assert keys(source) == ["b/x.mp4#t=1.5,3", "b/x.mp4#t=3", "y.mp4#t=0,2", "z.mp4"]
    assert source.label_names == ("cat", "dog")
    np.testing.assert_array_equal(source.labels(), [1, 0, -1, 0])
    first, second, third, fourth = (source[index] for index in range(4))
    assert first.media == str(tmp_path / "b" / "x.mp4")
    assert (first.start_seconds, first.end_seconds) == (1.5, 3.0)
    assert first.truth == {"caption": "a dog, barking"}
    assert (second.start_seconds, second.end_seconds) == (3.0, None)
    assert (third.start_seconds, third.end_seconds, third.truth) == (0.0, 2.0, {"caption": "é"})
    assert (fourth.start_seconds, fourth.end_seconds, fourth.label) == (0.0, None, 0)


def test_several_classes(manifest):
    source = manifest("path,Classes,caption\na.mp4,dog; cat ;dog,one\nb.mp4,,two\nc.mp4,bird\n")
    assert source.label_names == ("bird", "cat", "dog")
    assert source.labels().tolist() == [-1, -1, -1]
    assert [list(source.classes(index)) for index in range(3)] == [["dog", "cat"], [], ["bird"]]
    assert source[0].truth == {"caption": "one", "classes": ["dog", "cat"]}
    sets = class_sets(source, np.arange(3))
    assert sets.tolist() == [[False, True, True], [False] * 3, [True, False, False]]
    assert MixedSource(((source, 1.0),), "mix").classes(0) == source.classes(0)


def test_other_classes_are_another_data_set(manifest):
    dogs = manifest("path,classes\na.mp4,dog;cat\nb.mp4,dog\n").fingerprint
    assert manifest("path,classes\na.mp4,dog\nb.mp4,dog;cat\n").fingerprint != dogs


BOXES = "path,boxes,caption\na.png,0 0.25 0.5 1 traffic light; 0.5 0 1 1 car,one\nb.png,,two\n"


def test_boxes_are_there_at_all_times(manifest):
    source = manifest(BOXES)
    assert source.label_names == ("car", "traffic light")
    for seconds in (0.0, 7.0):
        seen = objects_at(source.truth(0), seconds)
        assert seen.boxes.tolist() == [[0, 0.25, 0.5, 1], [0.5, 0, 1, 1]]
        assert seen.labels.tolist() == [1, 0]
    assert len(objects_at(source.truth(1), 0.0)) == 0
    assert source.truth(1)["caption"] == "two"
    assert source.classes(0) is None
    moved = manifest(BOXES.replace("0.25", "0.3"))
    assert moved.fingerprint != source.fingerprint


def test_boxes_are_built(manifest, tmp_path):
    for name in "ab":
        Image.new("RGB", (64, 32)).save(tmp_path / f"{name}.png")
    source = manifest(BOXES)
    build(source.spec, str(tmp_path / "set"), short_side=16)
    built = open_source(f"tfds:{tmp_path}/set@train")
    assert built.label_names == source.label_names
    assert [built[index].truth for index in range(2)] == [source.truth(index) for index in range(2)]


@pytest.mark.parametrize(
    "cell", ["0 0 1 1", "0 0 1 car", "0 0 1 x car", "0 0 1.2 1 car", "1 0 0 1 car", "0 nan 1 1 car"]
)
def test_boxes_that_are_none_are_refused_with_their_line(manifest, cell):
    with pytest.raises(UsageError, match=rf"clips\.csv:3: boxes '{cell}' is not x0 y0 x1 y1 CLASS"):
        manifest(f"path,boxes\na.png,0 0 1 1 car\nb.png,0 0 1 1 car;{cell}\n")
    with pytest.raises(UsageError, match="column 'fps' has a name"):
        manifest("path,boxes,fps\na.png,0 0 1 1 car,25\n")


def test_a_picture_may_be_a_further_track(manifest, tmp_path):
    for name in "ab":
        Image.new("RGB", (64, 32)).save(tmp_path / f"{name}.png")
    source = manifest("path,stream\na.png,depth\nb.png,\n")
    assert [probe(source[index].media).video_streams for index in range(2)] == [("depth",), ()]
    build(source.spec, str(tmp_path / "set"))
    built = open_source(f"tfds:{tmp_path}/set@train")
    assert probe(built[0].media).video_streams == ("depth",)
    assert manifest("path,stream\na.png,\nb.png,\n").fingerprint != source.fingerprint
    for row, said in (("a.png,the depth", "is no word"), ("a.mp4,depth", "is of a picture")):
        with pytest.raises(UsageError, match=rf"clips\.csv:2: stream '.*{said}"):
            manifest(f"path,stream\n{row}\n")


def test_without_the_column_nobody_said(manifest):
    source = manifest("path,caption\na.mp4,one\n")
    assert source.classes(0) is None
    assert known_class_sets(source, np.array([0]))[1].tolist() == [False]


def test_several_classes_are_built(manifest, tmp_path):
    for name in "ab":
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    source = manifest("path,classes\na.png,dog;cat\nb.png,\n")
    build(source.spec, str(tmp_path / "set"))
    built = open_source(f"tfds:{tmp_path}/set@train")
    assert built.label_names == source.label_names
    indices = np.arange(2)
    np.testing.assert_array_equal(class_sets(built, indices), class_sets(source, indices))


def test_a_column_with_a_name_that_protocols_read_is_refused(manifest):
    for name in STRUCTURED - {"classes"}:
        with pytest.raises(UsageError, match=rf"clips\.csv:1: column '{name}' .* rename it"):
            manifest(f"path,{name}\na.mp4,3\n")


def test_bom_crlf_and_header_in_other_cases(manifest):
    source = manifest(b"\xef\xbb\xbf Path ,LABEL\r\na.mp4,x\r\n")
    assert keys(source) == ["a.mp4"]
    assert source.label_names == ("x",)


def test_names_that_are_not_utf8(manifest, tmp_path):
    source = manifest(b"path,label\ncaf\xe9.mp4,caf\xe9\n")
    assert keys(source) == ["caf\\xe9.mp4"]
    assert source.label_names == ("caf\\xe9",)
    assert os.fsencode(source[0].media).endswith(b"/caf\xe9.mp4")


def test_detours_inside_the_folder_are_straightened(manifest):
    assert keys(manifest("path\n./a/../b//c.mp4\n")) == ["b/c.mp4"]


def test_repeated_rows_are_left_out_and_said(manifest, caplog):
    source = manifest("path,start\na.mp4,1\na.mp4,2\n./a.mp4,1.0\n")
    assert keys(source) == ["a.mp4#t=1", "a.mp4#t=2"]
    assert source.skipped == (("a.mp4#t=1", "line 4 repeats line 2"),)
    assert "1 rows left out" in caplog.text


OUTSIDE = ("../x.mp4", "a/../../x.mp4", "/etc/passwd", "//host/x.mp4", "..")
ADDRESSES = ("file:x.mp4", "file:///etc/passwd", "http://h/x.mp4", "HTTP:x.mp4", "concat:a|b")


@pytest.mark.parametrize("path", [*OUTSIDE, *ADDRESSES, "a\0b.mp4", '"a\nb.mp4"', ".", "a/", " "])
def test_paths_that_are_refused_with_their_line(manifest, path):
    with pytest.raises(UsageError, match=r"clips\.csv:[34]: ") as caught:
        manifest(f"path,label\nok.mp4,x\n{path},x\n")
    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("path", ["../x.mp4", "/data/x.mp4"])
def test_outside_can_be_allowed(manifest, tmp_path, path):
    source = manifest(f"path\n{path}\n", allow_outside=True)
    assert os.path.normpath(source[0].media) == os.path.normpath(tmp_path / path)


@pytest.mark.parametrize("path", ADDRESSES)
def test_addresses_are_never_allowed(manifest, path):
    with pytest.raises(UsageError, match=r"is an address|leads out"):
        manifest(f"path\n{path}\n", allow_outside=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "clips.csv:1: there is no column 'path'; the columns are: none"),
        ("file,label\na,b\n", "the columns are: file, label"),
        ("path\n", "no rows"),
        ("path,label,classes\na,b,c\n", "clips.csv:1: there are both 'label' and 'classes'"),
        ("path,label\na,b,c\n", "clips.csv:2: 3 cells under 2 columns"),
        ("path,start\na,soon\n", "clips.csv:2: start 'soon' is no number"),
        ("path,start\na,-1\n", "clips.csv:2: start '-1'"),
        ("path,end\na,nan\n", "clips.csv:2: end 'nan'"),
        ("path,start,end\na,2,2\n", "clips.csv:2: end 2 is not after the start"),
        ('path\n"' + "a" * 200_000 + "\n", "is a quotation mark left open"),
        ("path\na\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_wrong_manifests(manifest, content, message):
    with pytest.raises(UsageError) as caught:
        manifest(content)
    assert message in str(caught.value)


def test_missing_file_and_split(manifest, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        open_source(f"manifest:{tmp_path}/none.csv")
    manifest("path\na\n")
    with pytest.raises(UsageError, match="has no splits"):
        open_source(f"manifest:{tmp_path}/clips.csv@train")


def test_a_million_rows(tmp_path):
    path = tmp_path / "clips.csv"
    rows = (f"{index // 1000:04d}/{index:07d}.mp4,c{index % 400}" for index in range(10**6))
    path.write_text("path,label\n" + "\n".join(rows))

    def processor_seconds(read):
        start = time.process_time()
        made = read()
        return made, time.process_time() - start

    with open(path, newline="") as file:
        _, plain = processor_seconds(lambda: list(csv.reader(file)))
    source, seconds = processor_seconds(lambda: open_source(f"manifest:{path}"))
    assert len(source) == 10**6
    assert len(source.label_names) == 400
    assert source.key(999_999) == "0999/0999999.mp4"
    assert seconds < 6 * plain, f"{seconds:.1f} s of processor time, csv alone {plain:.1f} s"
