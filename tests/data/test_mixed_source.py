import pickle

import numpy as np
import pytest
from PIL import Image

from avssl.data.open import open_source
from avssl.data.sources.mix import MixedSource
from avssl.data.truth import objects_at
from avssl.errors import UsageError


@pytest.fixture
def mix(tmp_path) -> MixedSource:
    for name in ("one/cat/1.mp4", "one/dog/2.mp4", "two/ant/3.mp4", "two/dog/4.mp4", "two/5.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    source = open_source(f"folder:{tmp_path}/one*3+folder:{tmp_path}/two")
    assert isinstance(source, MixedSource)
    return source


def test_records_follow_one_another(mix):
    assert len(mix) == 5
    assert [mix.key(index) for index in range(5)] == [
        "cat/1.mp4", "dog/2.mp4", "5.mp4", "ant/3.mp4", "dog/4.mp4",
    ]  # fmt: skip
    assert [mix[index].index for index in range(5)] == list(range(5))
    assert [weight for _, weight in mix.parts] == [3.0, 1.0]
    for index in (-1, 5):
        with pytest.raises(IndexError):
            mix[index]


def test_classes_are_joined_by_name(mix):
    assert mix.label_names == ("cat", "dog", "ant")
    assert mix.labels().tolist() == [0, 1, -1, 2, 1]
    assert [mix[index].label for index in range(5)] == mix.labels().tolist()


def test_fingerprint_knows_parts_and_weights(mix, tmp_path):
    one, two = (f"folder:{tmp_path}/{name}" for name in ("one", "two"))
    specs = (f"{one}*3+{two}", f"{one}*2+{two}", f"{two}+{one}*3")
    digests = [open_source(spec).fingerprint for spec in specs]
    assert digests[0] == mix.fingerprint
    assert len(set(digests)) == 3


def test_facts_are_unknown_if_no_part_knows_them(mix):
    assert mix.modalities() is None


def test_a_part_that_does_not_know_its_facts_hides_no_other_ones(mix):
    class Silent:
        spec, label_names = "silent", ()

        def __len__(self):
            return 2

        def labels(self):
            return np.array([-1, -1], np.int32)

        def modalities(self):
            return np.array([True, True]), np.array([False, True])

    joined = MixedSource(((mix, 1.0), (Silent(), 1.0)), "mix+silent")
    video, audio = joined.modalities()
    assert video.tolist() == [True] * 7
    assert audio.tolist() == [True] * 5 + [False, True]


def test_the_fingerprint_is_computed_once_and_travels(mix):
    fingerprint = mix.fingerprint
    for source, _ in mix.parts:
        source._keys = None
    assert pickle.loads(pickle.dumps(mix)).fingerprint == fingerprint
    assert [source.fingerprint for source, _ in pickle.loads(pickle.dumps(mix)).parts]


def test_facts_of_worlds_are_joined():
    source = open_source("world:tiny@test+world:tiny@test[:50%]")
    video, audio = source.modalities()
    assert video.all()
    assert audio.all()
    assert len(video) == len(source) == 24


def test_pickles(mix):
    assert pickle.loads(pickle.dumps(mix))[4] == mix[4]


def test_a_bad_part_is_named(tmp_path, mix):
    with pytest.raises(UsageError, match=r"folder '.*/three' does not exist"):
        open_source(f"folder:{tmp_path}/one+folder:{tmp_path}/three")


def test_objects_have_the_classes_of_the_mix(tmp_path):
    for name in ("car", "bus"):
        (tmp_path / f"{name}.csv").write_text(f"path,boxes\n{name}.png,0 0 1 1 {name}\n")
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    mix = open_source("+".join(f"manifest:{tmp_path}/{name}.csv" for name in ("car", "bus")))
    for truth in (mix.truth, lambda index: mix[index].truth):
        labels = [objects_at(truth(index), 0.0).labels.tolist() for index in range(2)]
        assert labels == [[0], [1]]
