import errno
import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest

from avssl.data.open import open_source
from avssl.data.record import Source
from avssl.data.sources.folder import FolderSource
from avssl.errors import UsageError

MP4_HEAD = b"\0\0\0\x18ftypmp42" + bytes(300)


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keys(source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def test_classes_keys_and_order(tmp_path):
    for name in ("b/2.mp4", "b/10.mp4", "a/deep/er/x.MKV", "root.mp4", "ä/1.webm"):
        write(tmp_path / name)
    source = open_source(f"folder:{tmp_path}")
    assert isinstance(source, Source)
    assert keys(source) == ["a/deep/er/x.MKV", "b/10.mp4", "b/2.mp4", "root.mp4", "ä/1.webm"]
    assert source.label_names == ("a", "b", "ä")
    np.testing.assert_array_equal(source.labels(), [0, 1, 1, -1, 2])
    assert source.labels().dtype == np.int32
    record = source[1]
    assert (record.key, record.index, record.label) == ("b/10.mp4", 1, 1)
    assert record.media == str(tmp_path / "b" / "10.mp4")
    assert record.has_video is None
    assert source.modalities() is None
    assert source.skipped == ()


def test_without_subfolders_there_are_no_classes(tmp_path):
    write(tmp_path / "1.mp4")
    source = open_source(f"folder:{tmp_path}")
    assert source.label_names == ()
    assert source.labels().tolist() == [-1]


def test_names_that_are_not_utf8(tmp_path):
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9", b"a\xff\nb.mp4")
    os.makedirs(os.path.dirname(raw))
    Path(os.fsdecode(raw)).write_bytes(b"media")
    source = open_source(f"folder:{tmp_path}")
    assert keys(source) == ["caf\\xe9/a\\xff\nb.mp4"]
    assert source.label_names == ("caf\\xe9",)
    assert Path(source[0].media).read_bytes() == b"media"
    assert source.fingerprint


def test_two_names_with_one_key_keep_the_first(tmp_path):
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff.mp4"))).write_bytes(b"raw")
    write(tmp_path / "\\xff.mp4", b"spelled")
    source = FolderSource(str(tmp_path))
    assert keys(source) == ["\\xff.mp4"]
    assert source.skipped == (("\\xff.mp4", "its name reads like another file's"),)


def test_hidden_files_and_sidecars_are_left_out_but_wrong_extensions_are_not(tmp_path):
    for name in (".hidden.mp4", ".cache/x.mp4", "notes.txt", "labels.csv", "thumb.JPG"):
        write(tmp_path / name)
    write(tmp_path / "video.txt", MP4_HEAD)
    write(tmp_path / "stream.json", (b"G" + bytes(187)) * 3)
    write(tmp_path / "junk.mp4")
    write(tmp_path / "noextension")
    write(tmp_path / "empty.mp4", b"")
    source = FolderSource(str(tmp_path))
    assert keys(source) == ["empty.mp4", "junk.mp4", "noextension", "stream.json", "video.txt"]
    assert dict(source.skipped) == {
        ".cache": "hidden (its name starts with a dot)",
        ".hidden.mp4": "hidden (its name starts with a dot)",
        "labels.csv": "no media (.csv file)",
        "notes.txt": "no media (.txt file)",
        "thumb.JPG": "no media (.jpg file)",
    }


def test_what_a_file_system_keeps_for_itself_is_not_entered(tmp_path):
    """At the root of a mounted disk, where root alone may look inside."""
    write(tmp_path / "lost+found" / "1.mp4")
    write(tmp_path / "a" / "1.mp4")
    source = FolderSource(str(tmp_path))
    assert keys(source) == ["a/1.mp4"]
    assert dict(source.skipped) == {"lost+found": "the file system's own"}


@pytest.mark.timeout(20)
def test_links_fifos_and_sockets(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    write(data / "b" / "1.mp4")
    write(elsewhere / "2.mp4")
    (data / "b" / "loop").symlink_to(data)
    (data / "a").symlink_to(data / "b")
    (data / "c").symlink_to(elsewhere)
    (data / "b" / "gone.mp4").symlink_to(tmp_path / "nowhere")
    (data / "b" / "self.mp4").symlink_to(data / "b" / "self.mp4")
    (data / "b" / "zero.mp4").symlink_to("/dev/zero")
    os.mkfifo(data / "b" / "pipe.mp4")
    os.mkfifo(data / "b" / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(data / "b" / "socket.mp4"))
    source = FolderSource(str(data))
    assert keys(source) == ["b/1.mp4", "c/2.mp4"]
    skipped = dict(source.skipped)
    assert skipped["a"] == skipped["b/loop"] == "a link to a folder that was read already"
    assert skipped["b/gone.mp4"] == "a link that leads nowhere"
    for name in ("pipe.mp4", "pipe.txt", "socket.mp4", "zero.mp4"):
        assert skipped[f"b/{name}"] == "not a regular file"
    assert "b/self.mp4" in skipped


def test_a_bomb_of_links_ends(tmp_path):
    for level in range(40):
        (tmp_path / f"{level:02d}").mkdir()
        for way in "xyz":
            (tmp_path / f"{level:02d}" / way).symlink_to(tmp_path / f"{(level + 1) % 40:02d}")
    write(tmp_path / "00" / "clip.mp4")
    assert keys(FolderSource(str(tmp_path))) == ["00/clip.mp4"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path, monkeypatch, linked):
    write(tmp_path / "data" / "dog" / "1.mp4")
    cats = write(tmp_path / ("elsewhere" if linked else "data/cat") / "1.mp4").parent
    if linked:
        (tmp_path / "data" / "cat").symlink_to(cats)
    scandir = os.scandir

    def failing(path):
        if str(path).endswith("cat"):
            raise OSError(errno.EIO, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(UsageError, match=r"data/cat' cannot be listed \(Input/output error\)"):
        FolderSource(str(tmp_path / "data"))


def test_a_folder_that_vanishes_meanwhile_is_left_out(tmp_path, monkeypatch):
    write(tmp_path / "dog" / "1.mp4")
    write(tmp_path / "cat" / "1.mp4")
    stat = os.stat

    def failing(path, **options):
        if str(path).endswith("cat"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", failing)
    assert FolderSource(str(tmp_path)).skipped == (("cat", "gone while it was listed"),)


def test_a_link_into_the_unreachable_is_no_unreadable_file(tmp_path):
    """It may be a class of its own."""
    write(tmp_path / "dog" / "1.mp4")
    # Longer than any name may be, which is an error for root as well.
    (tmp_path / "cat").symlink_to(tmp_path / ("x" * 300))
    with pytest.raises(UsageError, match="cat' cannot be listed"):
        FolderSource(str(tmp_path))


def test_an_unreadable_file_is_left_out_and_said(tmp_path, monkeypatch, caplog):
    write(tmp_path / "1.mp4")
    write(tmp_path / "2.txt", MP4_HEAD)

    def failing(root, relative):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("avssl.data.sources.folder.read_head", failing)
    source = FolderSource(str(tmp_path))
    assert source.skipped == (("2.txt", "cannot be read (Permission denied)"),)
    assert "1 files are left out, first 2.txt: cannot be read" in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_split_is_a_subfolder(tmp_path):
    write(tmp_path / "train" / "cat" / "1.mp4")
    write(tmp_path / "test" / "dog" / "1.mp4")
    source = open_source(f"folder:{tmp_path}@test")
    assert keys(source) == ["dog/1.mp4"]
    assert source.label_names == ("dog",)
    with pytest.raises(UsageError, match="it has: test, train"):
        open_source(f"folder:{tmp_path}@val")


def test_a_folder_may_have_an_at_sign(tmp_path):
    write(tmp_path / "me@home" / "1.mp4")
    assert keys(open_source(f"folder:{tmp_path}/me@home")) == ["1.mp4"]


def test_fingerprint_is_of_the_content_not_of_the_place(tmp_path):
    for place in ("one", "two"):
        write(tmp_path / place / "a" / "1.mp4", b"123")
    one, two = (open_source(f"folder:{tmp_path / place}") for place in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    write(tmp_path / "two" / "a" / "1.mp4", b"1234")
    assert open_source(f"folder:{tmp_path / 'two'}").fingerprint != one.fingerprint


def test_pickles(tmp_path):
    write(tmp_path / "a" / "1.mp4")
    source = open_source(f"folder:{tmp_path}")
    copy = pickle.loads(pickle.dumps(source))
    assert keys(copy) == keys(source)
    assert copy[0] == source[0]


def test_bucket_paths_are_walked_and_read_as_bytes(tmp_path):
    from avssl.data.sources import folder

    write(tmp_path / "a" / "1.mp4", MP4_HEAD)
    write(tmp_path / "a" / "1.txt")
    write(tmp_path / ".x" / "2.mp4")
    found = sorted(folder._walk_remote(str(tmp_path), folder._sidecar))
    assert found == [
        (".x", 0, "hidden (its name starts with a dot)"),
        ("a/1.mp4", len(MP4_HEAD), None),
        ("a/1.txt", 1, "no media (.txt file)"),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "did you mean 'videos'"),
        (lambda root: (root / "vidoes").mkdir(), "holds no files"),
        (lambda root: write(root / "vidoes"), "is a file, not a folder"),
        (lambda root: write(root / "vidoes" / "a.txt"), "holds no videos; 1 entries"),
        (lambda root: write(root / "vidoes" / "dataset_info.json"), "write tfds:"),
    ],
)
def test_wrong_folders(tmp_path, make, message):
    (tmp_path / "videos").mkdir()
    make(tmp_path)
    with pytest.raises(UsageError, match=message):
        open_source(f"folder:{tmp_path}/vidoes")
