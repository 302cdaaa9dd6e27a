"""What is known of records that cannot be read: their classes are unknown, and no command dies of it."""

import numpy as np
import pytest
from PIL import Image

from avssl.data.balanced import class_parts
from avssl.data.handle import Facts, Handle
from avssl.data.open import open_source
from avssl.data.record import class_sets, known_class_sets, truth_of
from avssl.data.sources.mix import MixedSource
from avssl.errors import UsageError
from avssl.media.errors import MediaError
from avssl.media.limits import Limits


@pytest.fixture
def pictures(tmp_path):
    """Pictures of two classes, and one of none that is damaged."""
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    (tmp_path / "list.csv").write_text("path,label\na/1.png,a\nb/2.png,b\ndamaged.png,\n")
    return tmp_path


@pytest.mark.parametrize("spec", ["manifest:{}/list.csv", "images:{}"])
def test_records_without_a_class_are_told_without_reading_them(pictures, monkeypatch, spec):
    source = open_source(spec.format(pictures))
    with pytest.raises(MediaError):
        source[2]

    def unread(*_, **__):
        raise AssertionError("media was read")

    monkeypatch.setattr("avssl.data.sources.manifest.as_video", unread)
    monkeypatch.setattr("avssl.data.sources.folder.still_at", unread)
    indices = np.arange(3)
    sets, known = known_class_sets(source, indices)
    assert known.tolist() == [True, True, False]
    assert sets.tolist() == [[True, False], [False, True], [False, False]]
    assert [part.tolist() for part in class_parts(source, indices)] == [[0], [1]]
    with pytest.raises(UsageError, match=r"nobody said of which classes 'damaged\.png'"):
        class_sets(source, indices)
    assert truth_of(source, 2) == {}


class Damaged:
    """Knows of its only record what its media says."""

    spec = "damaged"
    label_names = ("a",)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise MediaError("its picture is damaged")

    def key(self, index):
        return "x.png"

    def labels(self):
        return np.array([-1], np.int32)


@pytest.mark.parametrize("mixed", [False, True])
def test_whoever_needs_the_truth_of_an_unreadable_record_gets_its_name(mixed):
    source = MixedSource(((Damaged(), 1.0),), "a mix") if mixed else Damaged()
    assert known_class_sets(source, np.array([0]))[1].tolist() == [False]
    with pytest.raises(UsageError, match=r"'x.png' of .* \(its picture is damaged\)"):
        truth_of(source, 0)


def test_to_the_pipeline_it_is_a_bad_record():
    facts = Facts(Damaged(), Limits())
    facts.durations[0] = 1.0
    with Handle(facts, 0) as handle, pytest.raises(MediaError):
        _ = handle.truth
