"""Which files a source reads: what a cache on disk, unlike a checkpoint, must not confuse."""

import os
import pickle

from avssl.data.open import open_source
from avssl.data.record import identity_of
from tests.data.test_local import write_store


def folder_of(path, content: bytes):
    (path / "a").mkdir(parents=True)
    # The box of an MP4 file, which is all that listing looks at.
    (path / "a" / "one.mp4").write_bytes(b"\0\0\0\x10ftyp" + content)
    return path


def manifest_of(folder):
    file = folder / "list.csv"
    file.write_text("path\na/one.mp4\n")
    return f"manifest:{file}"


def test_folders_of_equal_names_and_sizes_are_equal_data_but_other_files(tmp_path):
    first, second = (folder_of(tmp_path / name, name.encode()) for name in ("x", "y"))
    for spec_of in ("folder:{}".format, manifest_of):
        one, other = (open_source(spec_of(folder)) for folder in (first, second))
        assert one.fingerprint == other.fingerprint
        assert identity_of(one) != identity_of(other)
        assert identity_of(pickle.loads(pickle.dumps(one))) == identity_of(one)
        mixed = [open_source(f"{source.spec}*2+{one.spec}") for source in (one, other)]
        assert identity_of(mixed[0]) != identity_of(mixed[1])


def test_a_file_that_was_changed_is_another(tmp_path):
    folder = folder_of(tmp_path / "x", b"before")
    before = open_source(f"folder:{folder}")
    known = identity_of(before)
    os.utime(folder / "a" / "one.mp4", ns=(0, 0))
    after = open_source(f"folder:{folder}")
    assert after.fingerprint == before.fingerprint
    assert identity_of(after) != known


def test_built_sets_are_known_by_their_shards_wherever_they_lie(tmp_path):
    one, copy = (open_source(f"tfds:{write_store(tmp_path / name)}") for name in ("x", "y"))
    other = open_source(f"tfds:{write_store(tmp_path / 'z', turned=True)}")
    assert one.fingerprint == copy.fingerprint == other.fingerprint
    assert identity_of(one) == identity_of(copy) != identity_of(other)
